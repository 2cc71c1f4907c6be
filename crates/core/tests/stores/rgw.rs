//! The conformance suite on an independent production S3 server: Ceph's RADOS Gateway.
//!
//! It is found in `PARTITA_TEST_RGW` (the JSON line of `tests/servers/ceph_rgw.py`, or a file with
//! it), or started. If it is not available, the tests say so and pass, except under `CI=true`,
//! where it is installed and required.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use partita_core::store::{Capability, Condition};
use partita_core::testing::{Fault, FaultStore, conformance, race_increments};
use partita_core::{Store, StoreOptions};
use serde_json::Value;

/// A gateway, and the process that serves it if it was started here.
struct Gateway {
    child: Option<Child>,
    bucket: String,
    options: StoreOptions,
}

impl Gateway {
    fn from_json(text: &str, child: Option<Child>) -> Self {
        let line: Value = serde_json::from_str(text).unwrap();
        let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap().to_owned();
        let options = StoreOptions::new()
            .with("endpoint_url", text("endpoint"))
            .with("access_key_id", text("access_key"))
            .with("secret_access_key", text("secret_key"));
        Self { child, bucket: text("bucket"), options }
    }

    fn find() -> Result<Self, String> {
        match std::env::var("PARTITA_TEST_RGW") {
            Ok(text) if text.trim_start().starts_with('{') => Ok(Self::from_json(&text, None)),
            Ok(file) if !file.is_empty() => {
                Ok(Self::from_json(&std::fs::read_to_string(file).unwrap(), None))
            }
            _ => Self::start(),
        }
    }

    fn start() -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers/ceph_rgw.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args(is_required().then_some("--install"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3 does not start: {error}"))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            child.wait().unwrap();
            return Err(why.trim().to_owned());
        }
        Ok(Self::from_json(&line, Some(child)))
    }

    fn open(&self, prefix: &str) -> Store {
        Store::open(&format!("s3://{}/{prefix}", self.bucket), &self.options).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

fn is_required() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

// A single test, since each test would start a cluster of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ceph_gateway_conforms() {
    let gateway = match Gateway::find() {
        Ok(gateway) => gateway,
        Err(why) if is_required() => panic!("the gateway is required here: {why}"),
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let run = std::process::id();
    let store = gateway.open(&format!("conformance-{run}/a%20b"));
    let probed = store.probe().await.unwrap();
    assert_eq!(probed, Capability::Conditional(Condition::UnquotedEtag));
    conformance(&store).await.unwrap();

    let store = gateway.open(&format!("race-{run}"));
    assert_eq!(race_increments(&store, "counter", 8, 50).await.unwrap().done, 400);

    let faulty =
        store.wrap(|inner| Arc::new(FaultStore::new(inner).on_every_write(10, Fault::Ambiguous)));
    assert_eq!(race_increments(&faulty, "lost-answers", 8, 25).await.unwrap().done, 200);
    store.delete_many(vec!["counter".to_owned(), "lost-answers".to_owned()]).await.unwrap();
}
