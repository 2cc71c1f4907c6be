//! AWS profiles: keys, region and endpoint from `~/.aws/credentials` and `~/.aws/config`.
//!
//! As in the AWS tools, the credentials file takes precedence over the config file, and the profile
//! is `default` unless the option `profile` or `AWS_PROFILE` names another. Keys of single sign-on, of
//! assumed roles and of programs come from the AWS command line (`exported_keys`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The settings of a profile, under the names of the AWS tools.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile(HashMap<String, String>);

impl Profile {
    /// The profile `asked` for, else that of the environment, else the default one, which need not
    /// exist.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if a named profile does not exist, or
    /// a file cannot be read.
    pub fn load(asked: Option<&str>) -> Result<Self> {
        let named = Self::named(asked);
        let home = variable("HOME").or_else(|| variable("USERPROFILE")).map(PathBuf::from);
        let place = |name: &str, file: &str| {
            let default = || home.as_ref().map(|home| home.join(".aws").join(file));
            variable(name).map(PathBuf::from).or_else(default)
        };
        let credentials = place("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = place("AWS_CONFIG_FILE", "config");
        let name = named.as_deref().unwrap_or("default");
        let text = |path: &Option<PathBuf>| path.as_deref().map_or(Ok(String::new()), read);
        match Self::find(&text(&credentials)?, &text(&config)?, name) {
            Some(profile) => Ok(profile),
            None if named.is_none() => Ok(Self::default()),
            None => {
                let shown = |path: Option<PathBuf>| {
                    path.map_or_else(|| "none".into(), |path| path.display().to_string())
                };
                Err(Error::invalid("there is no such AWS profile")
                    .with("profile", name)
                    .with("credentials", shown(credentials))
                    .with("config", shown(config)))
            }
        }
    }

    /// The name of the profile, if the option or the environment gives one.
    pub fn named(asked: Option<&str>) -> Option<String> {
        asked.map(str::to_owned).or_else(|| variable("AWS_PROFILE"))
    }

    /// Looks a profile up in the texts of both files.
    fn find(credentials: &str, config: &str, name: &str) -> Option<Self> {
        let own = |section: &str| section == name;
        // The config file prefixes the names of all profiles but the default one.
        let long = |section: &str| match section.strip_prefix("profile ") {
            Some(rest) => rest.trim() == name,
            None => section == "default" && name == "default",
        };
        let mut found = section(config, long);
        if let Some(first) = section(credentials, own) {
            found.get_or_insert_default().extend(first);
        }
        found.map(Self)
    }

    /// Its access key, secret and session token; `None` without the first two.
    pub fn keys(&self) -> Option<(&str, &str, Option<&str>)> {
        Some((
            self.get("aws_access_key_id")?,
            self.get("aws_secret_access_key")?,
            self.get("aws_session_token"),
        ))
    }

    /// True if its keys have to be asked for.
    pub fn exports_keys(&self) -> bool {
        let ways =
            ["sso_session", "sso_start_url", "role_arn", "credential_process", "login_session"];
        self.keys().is_none() && ways.iter().any(|name| self.0.contains_key(*name))
    }

    /// One of its settings.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// A variable of the environment that is not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn read(path: &Path) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::invalid("a file of AWS profiles cannot be read")
            .with("path", path.display())
            .caused_by(error)),
    }
}

/// The settings of the sections that are `wanted`; `None` if there is no such section. Indented
/// lines are nested settings, none of which is used here.
fn section(text: &str, wanted: impl Fn(&str) -> bool) -> Option<HashMap<String, String>> {
    let mut found: Option<HashMap<String, String>> = None;
    let mut inside = false;
    for line in text.lines() {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) || line.starts_with([' ', '\t']) {
            continue;
        }
        if let Some(name) = content.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default().trim();
            inside = wanted(name);
            if inside {
                found.get_or_insert_default();
            }
        } else if let Some((name, value)) = content.split_once('=')
            && inside
            && let Some(found) = &mut found
        {
            // A comment may follow a value after a space.
            let value = value.split(" #").next().unwrap_or_default().trim();
            found.insert(name.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "
# keys
[default]
aws_access_key_id = first
aws_secret_access_key=a=b/c+d==

[work]
aws_access_key_id = second
aws_secret_access_key = other
aws_session_token = token
region = from-credentials
";

    const CONFIG: &str = "
[default]
region = eu-north-1
[profile work]
region = eu-west-1
endpoint_url = http://127.0.0.1:9000  # here
s3 =
    endpoint_url = http://elsewhere
    max_concurrent_requests = 20
[profile bare]
output = json
[profile signed]
sso_session = company
[profile role]
role_arn = arn:aws:iam::1:role/reader
source_profile = work
[work]
region = not-a-profile
";

    #[test]
    fn both_files_make_a_profile() {
        let default = Profile::find(CREDENTIALS, CONFIG, "default").unwrap();
        assert_eq!(default.keys(), Some(("first", "a=b/c+d==", None)));
        assert_eq!(default.get("region"), Some("eu-north-1"));
        assert_eq!(default.get("endpoint_url"), None);
        let work = Profile::find(CREDENTIALS, CONFIG, "work").unwrap();
        assert_eq!(work.keys(), Some(("second", "other", Some("token"))));
        assert_eq!(work.get("region"), Some("from-credentials"));
        assert_eq!(work.get("endpoint_url"), Some("http://127.0.0.1:9000"));
        assert_eq!(Profile::find(CREDENTIALS, CONFIG, "bare").unwrap().keys(), None);
        assert_eq!(Profile::find(CREDENTIALS, CONFIG, "none"), None);
        let exporting = ["default", "work", "bare", "signed", "role"]
            .map(|name| Profile::find(CREDENTIALS, CONFIG, name).unwrap().exports_keys());
        assert_eq!(exporting, [false, false, false, true, true]);
        assert_eq!(Profile::find("", "", "default"), None);
    }

    #[test]
    fn what_is_no_profile_does_no_harm() {
        for text in ["[", "]", "=", "[a", "a = b\n[default", "[default]\n=\n= x\nx", "\u{0}[\n\t="]
        {
            let found = Profile::find(text, text, "default");
            assert!(found.is_none_or(|profile| profile.keys().is_none()), "{text}");
        }
    }
}
