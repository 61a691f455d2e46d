//! Services started by `scripts/dev-*`, and tests that need something in their environment.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// A service that runs until this value or this process ends.
pub(crate) struct Service {
    /// What it printed behind `ready`.
    pub(crate) words: Vec<String>,
    child: Child,
}

impl Service {
    /// Starts `scripts/NAME` and waits until it is ready.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let script = format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.split_whitespace().map(str::to_owned);
        assert_eq!(words.next().as_deref(), Some("ready"), "scripts/{name} did not get ready");
        Self { words: words.collect(), child }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The service ends with its input; a script that is done already has no more to say.
        drop(self.child.stdin.take());
        assert!(self.child.wait().is_ok());
    }
}

/// A free port of this machine.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs the ignored test `name` of this program in a process of its own, with `variables` in its environment.
///
/// Libraries read the environment at any time, from any thread: it is only safe to set it for a new process.
pub(crate) fn run_alone(name: &str, environment: &impl Environment) {
    let (_, path) = name.split_once("::").unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", path, "--ignored", "--nocapture"])
        .envs(environment.variables())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{path}:\n{text}");
}

/// What a test needs in its environment; dropped when the test is over.
pub(crate) trait Environment {
    fn variables(&self) -> Vec<(&str, &str)>;
}

impl<const N: usize> Environment for [(&str, &str); N] {
    fn variables(&self) -> Vec<(&str, &str)> {
        self.to_vec()
    }
}

impl<T, const N: usize> Environment for (T, [(&str, String); N]) {
    fn variables(&self) -> Vec<(&str, &str)> {
        self.1.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

/// Makes one `#[test]` of each named contract that runs the contract in a process of its own, see [`run_alone`].
macro_rules! contracts_alone {
    ($variables:expr, $fresh:expr; $($suite:ident: $($name:ident)*;)*) => {
        $($(
            #[test]
            fn $name() {
                crate::service::run_alone(concat!(module_path!(), "::alone::", stringify!($name)), &$variables);
            }
        )*)*

        mod alone {
            use super::*;

            $($(
                #[test]
                #[ignore = "the test of the same name runs it, with what it needs in its environment"]
                fn $name() {
                    crate::contract::$suite::$name(&$fresh);
                }
            )*)*
        }
    };
}
pub(crate) use contracts_alone;
