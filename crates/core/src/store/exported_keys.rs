//! Temporary keys of AWS profiles with single sign-on, an assumed role or a program. The AWS command
//! line finds them, as it does for all tools of AWS.

use std::error::Error as AnyError;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use serde_json::Value;
use tokio::sync::Mutex;

type Exported<T> = std::result::Result<T, Box<dyn AnyError + Send + Sync>>;

/// The remaining time below which keys are asked for again: longer than a request may take.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// The keys of a profile, which are asked for when they are needed first and before they expire.
#[derive(Debug)]
pub(super) struct ExportedKeys {
    profile: String,
    known: Mutex<Option<Temporary>>,
}

#[derive(Debug, Clone)]
struct Temporary {
    keys: Arc<AwsCredential>,
    expires: Option<Timestamp>,
}

impl ExportedKeys {
    pub fn new(profile: String) -> Self {
        Self { profile, known: Mutex::default() }
    }
}

#[async_trait]
impl CredentialProvider for ExportedKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // Requests that need keys at the same time wait for one program.
        let mut known = self.known.lock().await;
        if let Some(temporary) = known.as_ref().filter(|temporary| temporary.lasts()) {
            return Ok(Arc::clone(&temporary.keys));
        }
        let profile = self.profile.clone();
        let exported = tokio::task::spawn_blocking(move || export(&profile)).await?;
        // Nothing is sent without keys, so that the outcome of a commit is known.
        let path = self.profile.clone();
        let temporary =
            exported.map_err(|source| object_store::Error::Unauthenticated { path, source })?;
        let keys = Arc::clone(&temporary.keys);
        *known = Some(temporary);
        Ok(keys)
    }
}

impl Temporary {
    fn lasts(&self) -> bool {
        self.expires.is_none_or(|expires| expires.duration_since(Timestamp::now()) > MARGIN)
    }

    /// The keys in the form that programs print for the tools of AWS.
    fn parse(printed: &[u8]) -> Exported<Self> {
        // The text is in no message, since it holds the keys.
        let document: Value =
            serde_json::from_slice(printed).map_err(|_| "`aws` printed no JSON with keys")?;
        let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
        let key_id = text("AccessKeyId").ok_or("`aws` printed no AccessKeyId")?;
        let secret_key = text("SecretAccessKey").ok_or("`aws` printed no SecretAccessKey")?;
        let expires = text("Expiration").map(|time| time.parse::<Timestamp>()).transpose()?;
        let keys = AwsCredential { key_id, secret_key, token: text("SessionToken") };
        Ok(Self { keys: Arc::new(keys), expires })
    }
}

/// Asks the AWS command line for the keys of a profile.
fn export(profile: &str) -> Exported<Temporary> {
    let words = ["configure", "export-credentials", "--format", "process", "--profile", profile];
    let ran = Command::new("aws").args(words).stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "the keys of the AWS profile {profile} are found by the AWS command line, and there is \
             no program `aws`: install its version 2, or export keys into the environment"
        ),
        _ => format!("`aws` cannot be started: {error}"),
    })?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        return Err(format!("`aws {}` failed: {}", words.join(" "), said.trim()).into());
    }
    Temporary::parse(&ran.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parsed_with_their_end() {
        let printed = br#"{"Version": 1, "AccessKeyId": "id", "SecretAccessKey": "secret",
            "SessionToken": "token", "Expiration": "2001-02-03T04:05:06+00:00"}"#;
        let temporary = Temporary::parse(printed).unwrap();
        assert_eq!(temporary.keys.key_id, "id");
        assert_eq!(temporary.keys.secret_key, "secret");
        assert_eq!(temporary.keys.token.as_deref(), Some("token"));
        assert!(!temporary.lasts());
        let lasting = br#"{"AccessKeyId": "id", "SecretAccessKey": "secret"}"#;
        assert!(Temporary::parse(lasting).unwrap().lasts());
    }

    #[test]
    fn what_is_printed_is_in_no_message() {
        for printed in [
            "secret",
            r#"{"AccessKeyId": "secret"}"#,
            r#"{"SecretAccessKey": "secret"}"#,
            r#"{"AccessKeyId": 1, "SecretAccessKey": "secret"}"#,
        ] {
            let error = Temporary::parse(printed.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
