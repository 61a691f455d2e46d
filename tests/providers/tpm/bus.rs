//! What crosses the bus between a program and its TPM, seen from in between; and a second opinion on what is sealed.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use super::bench::{Bench, tool};
use crate::fixture::ok;

/// Listeners at two ports in a row, as a TPM has them, that pass everything on and keep a copy.
struct Tap {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// Before the TPM at `port`.
    fn before(port: u16) -> Self {
        let (own, listeners) = pair();
        let seen = Arc::default();
        for (listener, upstream) in listeners.into_iter().zip([port, port + 1]) {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                for client in listener.incoming() {
                    let (client, seen) = (client.unwrap(), Arc::clone(&seen));
                    // Who closes a connection ends it for both.
                    thread::spawn(move || pass_on(&client, upstream, &seen).is_ok());
                }
            });
        }
        Self { port: own, seen }
    }

    fn device(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// What crossed since the last time.
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Two ports in a row, outside the range that the kernel gives away by itself.
fn pair() -> (u16, [TcpListener; 2]) {
    let bind = |port| TcpListener::bind(("127.0.0.1", port));
    let both = |port| Some((port, [bind(port).ok()?, bind(port + 1).ok()?]));
    (14_000..20_000).step_by(2).find_map(both).expect("two ports are free")
}

fn pass_on(client: &TcpStream, upstream: u16, seen: &Mutex<Vec<u8>>) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", upstream))?;
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server, seen));
        copy(&server, client, seen)
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, seen: &Mutex<Vec<u8>>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return to.shutdown(Shutdown::Write);
        }
        seen.lock().unwrap().extend(&buffer[..length]);
        to.write_all(&buffer[..length])?;
    }
}

/// The secret of slot 2, unsealed by the tools of others: by the format as it is described, without any help of ours.
fn unsealed_by_tools(bench: &Bench, device: &str, dir: &Path) -> Vec<u8> {
    let keyring: serde_json::Value = serde_json::from_slice(&fs::read(bench.keyring()).unwrap()).unwrap();
    let sealed = &keyring["slots"][1]["unlock"]["tpm2"]["sealed"];
    for part in ["public", "private"] {
        let bytes = hex::decode(sealed[part].as_str().unwrap()).unwrap();
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        fs::write(dir.join(part), [length.as_slice(), &bytes].concat()).unwrap();
    }
    // The tools take this field as it lies in memory: a length and 128 bytes for each coordinate.
    let zero = [32_u16.to_le_bytes().as_slice(), &[0; 128]].concat();
    fs::write(dir.join("unique"), zero.repeat(2)).unwrap();
    let tool = |line: &str| tool(line, device, dir);
    let flush = || tool("tpm2_flushcontext -t");
    tool(
        "tpm2_createprimary -Q -C o -g sha256 -G ecc256:aes128cfb -u unique -c parent -a \
         fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt",
    );
    flush();
    tool("tpm2_readpublic -Q -c parent -n name");
    assert_eq!(hex::encode(fs::read(dir.join("name")).unwrap()), sealed["parent"].as_str().unwrap());
    flush();
    tool("tpm2_load -Q -C parent -u public -r private -c object");
    flush();
    tool("tpm2_startauthsession --policy-session -S session");
    tool("tpm2_policycommandcode -Q -S session TPM2_CC_Unseal");
    tool("tpm2_policypcr -Q -S session -l sha256:7");
    tool("tpm2_unseal -Q -c object -p session:session -o secret");
    tool("tpm2_flushcontext session");
    flush();
    fs::read(dir.join("secret")).unwrap()
}

#[test]
fn the_secret_never_crosses_the_bus_in_clear() {
    let bench = Bench::new();
    let tap = Tap::before(bench.tpm.port());
    bench.drive.configure(&format!("[unlock]\ntpm2_device = '{}'\n", tap.device()));
    bench.add(&[]);
    let sealing = tap.take();
    bench.opens(&[]);
    let unsealing = tap.take();
    // The tools do not encrypt: the same secret can be seen then.
    let dir = tempfile::tempdir().unwrap();
    let secret = unsealed_by_tools(&bench, &tap.device(), dir.path());
    let in_clear = tap.take();
    assert_eq!(secret.len(), 32);
    let crossed = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(crossed(&in_clear), "the tap does not see what crosses");
    assert!(sealing.len() > 1000 && unsealing.len() > 1000);
    assert!(!crossed(&sealing), "while it was sealed");
    assert!(!crossed(&unsealing), "while it was unsealed");
}

#[test]
fn a_pin_and_what_it_is_stretched_to_do_not_cross_the_bus() {
    let bench = Bench::new();
    let tap = Tap::before(bench.tpm.port());
    bench.drive.configure(&format!("[unlock]\ntpm2_device = '{}'\n", tap.device()));
    let pin = bench.pin("a PIN that is long enough to be found");
    bench.add(&["--new-tpm2-pin-file", &pin]);
    ok(&mut bench.by_tpm(&["--tpm2-pin-file", &pin]));
    let crossed = tap.take();
    let text = b"a PIN that is long enough";
    assert!(crossed.len() > 2000 && !crossed.windows(text.len()).any(|window| window == text));
    // A session that is authorised by a password would carry the handle TPM_RS_PW into Unseal (0x15e).
    let unseal = 0x15e_u32.to_be_bytes();
    let commands: Vec<_> = crossed.windows(4).enumerate().filter(|(_, window)| *window == unseal).collect();
    assert!(!commands.is_empty());
    for (at, _) in commands {
        // Command code, object handle, size of the authorisations, first session.
        let session = &crossed[at + 12..at + 16];
        assert_ne!(session, 0x4000_0009_u32.to_be_bytes(), "a password");
    }
}
