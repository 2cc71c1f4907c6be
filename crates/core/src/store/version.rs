//! Versions of an object's content.

use object_store::{ObjectMeta, PutResult, UpdateVersion};

use super::probe::Condition;

/// The version of an object as it was read or written, to be passed as the condition of a
/// [`Store::compare_and_swap`](super::Store::compare_and_swap).
///
/// Two versions are equal if the object held the same bytes. Every state that is committed carries
/// a unique id, so equal bytes are the same state.
#[derive(Debug, Clone)]
pub struct Version {
    content: blake3::Hash,
    e_tag: Option<String>,
    version: Option<String>,
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

impl Eq for Version {}

impl Version {
    /// The version of an object that was read.
    pub(super) fn of_read(meta: &ObjectMeta, bytes: &[u8]) -> Self {
        Self {
            content: blake3::hash(bytes),
            e_tag: meta.e_tag.clone(),
            version: meta.version.clone(),
        }
    }

    /// The version of an object that was written.
    pub(super) fn of_write(result: PutResult, bytes: &[u8]) -> Self {
        Self { content: blake3::hash(bytes), e_tag: result.e_tag, version: result.version }
    }

    /// The version of a state that was stored but has been replaced since; it equals no current
    /// version.
    pub(super) fn replaced(bytes: &[u8]) -> Self {
        Self { content: blake3::hash(bytes), e_tag: None, version: None }
    }

    /// The version as a line of text, for interfaces that exchange versions as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let part = |part: &Option<String>| part.as_deref().map(|text| format!("={text}"));
        let parts =
            [Some(self.content.to_hex().to_string()), part(&self.e_tag), part(&self.version)];
        parts.map(Option::unwrap_or_default).join("\t")
    }

    /// Parses the text of [`Version::to_text`].
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split('\t');
        let content = blake3::Hash::from_hex(parts.next()?).ok()?;
        let mut part = || parts.next().and_then(|part| part.strip_prefix('=')).map(str::to_owned);
        Some(Self { content, e_tag: part(), version: part() })
    }

    /// The condition in the form that the store understands; `None` if the store never assigned
    /// this version.
    pub(super) fn condition(&self, form: Condition) -> Option<UpdateVersion> {
        let e_tag = match form {
            Condition::ContentHash => Some(content_tag(self.content)),
            Condition::Etag => self.e_tag.clone(),
            Condition::UnquotedEtag => self.e_tag.as_deref().map(unquote).map(str::to_owned),
        };
        if e_tag.is_none() && self.version.is_none() {
            return None;
        }
        Some(UpdateVersion { e_tag, version: self.version.clone() })
    }
}

/// A content hash written as an entity tag, which is the condition of local files.
pub(super) fn content_tag(hash: blake3::Hash) -> String {
    format!("blake3:{}", hash.to_hex())
}

fn unquote(tag: &str) -> &str {
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(e_tag: Option<&str>, bytes: &[u8]) -> Version {
        let result = PutResult {
            e_tag: e_tag.map(str::to_owned),
            version: None,
            extensions: Default::default(),
        };
        Version::of_write(result, bytes)
    }

    #[test]
    fn equal_bytes_are_one_version() {
        assert_eq!(written(Some("\"1\""), b"a"), Version::replaced(b"a"));
        assert_ne!(written(Some("\"1\""), b"a"), written(Some("\"1\""), b"b"));
    }

    #[test]
    fn versions_as_text() {
        for e_tag in [None, Some("\"1\""), Some("")] {
            let version = written(e_tag, b"a");
            let read = Version::from_text(&version.to_text()).unwrap();
            assert_eq!(read, version);
            assert_eq!(read.e_tag.as_deref(), e_tag);
            assert_eq!(read.version, None);
        }
        assert!(Version::from_text("").is_none());
    }

    #[test]
    fn forms_of_the_condition() {
        let version = written(Some("\"1\""), b"a");
        let tag = |form| version.condition(form).unwrap().e_tag.unwrap();
        assert_eq!(tag(Condition::Etag), "\"1\"");
        assert_eq!(tag(Condition::UnquotedEtag), "1");
        assert!(tag(Condition::ContentHash).starts_with("blake3:"));
        assert!(Version::replaced(b"a").condition(Condition::Etag).is_none());
    }
}
