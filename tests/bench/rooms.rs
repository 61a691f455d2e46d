//! What single steps cost without a kernel: sealing, opening, headers, and the engine over a temporary directory.
//!
//! `cargo bench` takes the figures; `cargo bench -- seal` only those whose name matches. `cargo bench -- --count N [POLICY]`
//! creates and closes N files, under a policy if one is given, and nothing else: for counting, as with `valgrind`.

use std::{
    ffi::OsStr,
    fs,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use strongroom::{
    audit::{self, Actor, Appender, AuditLog, Event, EventName, Role, SseApplied},
    crypto::Secret,
    engine::{
        Access, Caller, DefaultEncryption, Encryption, Engine, Item, JournalMode, Limits, NewBucket,
        OpenFile, OpenFlags, Options, PolicyFile, create_store,
    },
    envelope::{DataKey, DataKeys, Id},
    keys::{Keyring, NewSlot, Unlock, create_key_file},
    name::{BucketName, ObjectName},
    object::{
        BlockSize, Geometry, Header, Identity, KeySection, Nonces, ObjectKeys, ObjectState, Page, Segment,
        SegmentCipher, SseMode,
    },
    policy::{AccountId, Action, Context, Mode, PolicyDocument, Principal, Request, Resource},
    store::layout::STORE_DIR,
};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--count").skip(1);
    if let Some(count) = arguments.next() {
        return create_and_close(count.parse()?, arguments.next().filter(|policy| policy != "--bench"));
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    blocks(&mut criterion)?;
    headers(&mut criterion)?;
    policies(&mut criterion)?;
    let drive = Drive::new()?;
    small_files(&mut criterion, "engine", &drive)?;
    large_files(&mut criterion, &drive)?;
    audit(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// Makes so many empty files in one directory, which has a policy of its own in the file `policy`.
fn create_and_close(count: u32, policy: Option<String>) -> anyhow::Result<()> {
    let drive = Drive::new()?;
    if let Some(policy) = policy {
        let text = fs::read_to_string(policy)?.replace("BUCKET", "bench");
        PolicyFile::of(&drive.dir.path().join("store"), &BucketName::parse("bench")?)?.put(&text)?;
    }
    (0..count).try_for_each(|number| {
        drive.engine.close(drive.create(&format!("f{number:07}"))?);
        Ok(())
    })
}

/// Blocks that the engine seals at a time in a stream: a segment.
const RUN: usize = 128;

fn blocks(criterion: &mut Criterion) -> anyhow::Result<()> {
    let object = Object::new(4096)?;
    let cipher: SegmentCipher = object.keys.segment_cipher(1, &[7; 16]);
    let mut group = criterion.benchmark_group("block");
    for size in [4096, 16384, 65536, 262_144, 1_048_576_usize] {
        group.throughput(Throughput::Bytes(size as u64));
        let (block, mut sealed) = (vec![0x5a; size], vec![0; size]);
        group.bench_function(BenchmarkId::new("seal", size), |bencher| {
            let (mut nonces, mut left) = (Nonces::draw(0).ok(), 0);
            bencher.iter(|| {
                if left == 0 {
                    (nonces, left) = (Nonces::draw(RUN).ok(), RUN);
                }
                left -= 1;
                let nonces = nonces.as_mut();
                nonces.and_then(|nonces| cipher.seal(black_box(3), nonces, &block, &mut sealed).ok())
            });
        });
        let stamp = cipher.seal(3, &mut Nonces::draw(1)?, &block, &mut sealed)?;
        group.bench_function(BenchmarkId::new("open", size), |bencher| {
            let mut plain = vec![0; size];
            bencher.iter(|| cipher.open(black_box(3), &stamp, &sealed, &mut plain));
        });
    }
    group.finish();
    Ok(())
}

/// An object's keys and its authenticated header page.
struct Object {
    data_keys: DataKeys,
    keys: ObjectKeys,
    page: Box<Page>,
    header: Header,
}

impl Object {
    fn new(block_size: u64) -> anyhow::Result<Self> {
        let block = BlockSize::from_bytes(block_size).expect("a power of two in range");
        let geometry = Geometry::new(block, false);
        let data_keys = DataKeys::from(DataKey::random()?);
        let mut identity = Identity::fresh(geometry, SseMode::S3, Id::random()?, 0)?;
        let keys = ObjectKeys::create(&data_keys, &mut identity);
        let state = ObjectState { generation: 1, ..ObjectState::new() };
        let segment0 = Segment::empty(&geometry, 0)?;
        let header = Header { identity, state, keys: KeySection::default(), segment0 };
        let page = keys.seal_header(&header)?;
        Ok(Self { data_keys, keys, page, header })
    }
}

/// What a policy costs each creation: ready ones, one with a user in its resources, and a long one, in a directory that it
/// was asked about before and in another one each time.
fn policies(criterion: &mut Criterion) -> anyhow::Result<()> {
    let bucket = BucketName::parse("bench")?;
    let object = |path: &str| ObjectName::parse(path.as_ref());
    let known = [object("home/root/file")?];
    let others: Vec<_> = (0..5000).map(|at| object(&format!("work/{at}/file"))).collect::<Result<_, _>>()?;
    let principal = Principal::new(AccountId::default(), 1000, vec![1000], Some("root"));
    for (name, text, objects) in [
        ("require-aes256", include_str!("../../config/policies/require-aes256.json"), &known[..]),
        ("home-directories", include_str!("../../config/policies/home-directories.json"), &known),
        ("ten-statements", include_str!("ten-statements.json"), &known),
        ("ten-statements in new directories", include_str!("ten-statements.json"), &others),
    ] {
        let policy = PolicyDocument::parse(&text.replace("BUCKET", "bench"), &bucket)?;
        let request = |object| Request {
            principal: &principal,
            action: Action::PutObject,
            resource: Resource::Object(&bucket, object),
            context: Context::at(SystemTime::now()).encryption(Some("AES256")),
        };
        criterion.bench_function(&format!("policy/{name}"), |bencher| {
            let mut objects = objects.iter().cycle();
            bencher.iter(|| {
                let object = objects.next().expect("they come again");
                policy.evaluate(black_box(&request(object)), Mode::Open).is_allowed()
            });
        });
    }
    Ok(())
}

fn headers(criterion: &mut Criterion) -> anyhow::Result<()> {
    let object = Object::new(4096)?;
    let open = || {
        let header = Header::decode(black_box(&object.page[..]))?;
        let keys = ObjectKeys::open(&object.data_keys, &header.identity)?;
        keys.check_header(&object.page, &header)?;
        Ok::<_, strongroom::object::FormatError>((header, keys))
    };
    open()?;
    criterion.bench_function("header/open", |bencher| bencher.iter(open));
    criterion.bench_function("header/seal", |bencher| {
        bencher.iter(|| object.keys.seal_header(black_box(&object.header)));
    });
    Ok(())
}

/// A running engine over a store in a temporary directory.
struct Drive {
    engine: Engine,
    bucket: Item,
    dir: tempfile::TempDir,
}

impl Drive {
    fn new() -> anyhow::Result<Self> {
        Self::recorded(None)
    }

    /// One whose requests are recorded in `audit`.
    fn recorded(audit: Option<Arc<AuditLog>>) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (store, key) = (dir.path().join("store"), dir.path().join("key"));
        create_key_file(&key)?;
        create_store(&store, &[NewSlot::new("bench", Unlock::KeyFile(key.clone()))])?;
        let keyring = Keyring::open(&store.join(STORE_DIR), &Unlock::KeyFile(key))?;
        let new_bucket = NewBucket {
            default_encryption: DefaultEncryption::Aes256,
            block_size: BlockSize::DEFAULT,
            dual_layer: false,
            journal: JournalMode::On,
        };
        let options = Options {
            read_only: false,
            encryption: Encryption::Unnamed,
            customer_keys: Arc::default(),
            new_bucket: new_bucket.clone(),
            access: Access::default(),
            limits: Limits::default(),
            audit,
        };
        let engine = Engine::start(&store, keyring, "bench", options)?;
        engine.create_bucket(&BucketName::parse("bench")?, new_bucket, false)?;
        let bucket = engine.lookup(&engine.root(), OsStr::new("bench"))?.0;
        Ok(Self { engine, bucket, dir })
    }

    fn create(&self, name: &str) -> anyhow::Result<OpenFile> {
        Ok(self.engine.create(&caller(), &self.bucket, OsStr::new(name), 0o644, ACCESS)?.2)
    }

    fn open(&self, name: &str) -> anyhow::Result<OpenFile> {
        let (item, _) = self.engine.lookup(&self.bucket, OsStr::new(name))?;
        Ok(self.engine.open(&caller(), &item, ACCESS)?)
    }

    fn remove(&self, name: &str) -> anyhow::Result<()> {
        Ok(self.engine.unlink(&caller(), &self.bucket, OsStr::new(name))?)
    }

    /// Create, fill, close and remove one small file.
    fn small_file(&self, content: &[u8]) -> anyhow::Result<()> {
        let file = self.create("small")?;
        file.write_at(0, content)?;
        self.engine.close(file);
        self.remove("small")
    }

    /// Look up, open, read and close one file.
    fn read_file(&self, name: &str, buffer: &mut [u8]) -> anyhow::Result<usize> {
        let file = self.open(name)?;
        let got = file.read_at(0, buffer)?;
        self.engine.close(file);
        Ok(got)
    }
}

fn small_files(criterion: &mut Criterion, group: &str, drive: &Drive) -> anyhow::Result<()> {
    let content = [0x5a; 4096];
    drive.small_file(&content)?;
    criterion.bench_function(&format!("{group}/create, write 4 KiB, close, unlink"), |bencher| {
        bencher.iter(|| drive.small_file(&content).expect("it worked before"));
    });
    let file = drive.create("kept")?;
    file.write_at(0, &content)?;
    drive.engine.close(file);
    let mut buffer = [0; 4096];
    anyhow::ensure!(drive.read_file("kept", &mut buffer)? == content.len() && buffer == content);
    criterion.bench_function(&format!("{group}/look up, open, read 4 KiB, close"), |bencher| {
        bencher.iter(|| drive.read_file("kept", &mut buffer).expect("it worked before"));
    });
    Ok(())
}

/// What an event costs whoever emits it, what a line costs the writer's thread, and what both make of small files.
fn audit(criterion: &mut Criterion) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (options, root) = (audit::Options::new(dir.path().join("audit")), Secret::copy_from(&[7; 32]));
    let mut group = criterion.benchmark_group("audit");
    let log = AuditLog::start(&options, Some(&root), Role::Command)?;
    group.bench_function("build and hand over an event", |bencher| {
        // In pieces that fit the queue; the writer's part is done between them.
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for piece in (0..count).step_by(PIECE).map(|done| (count - done).min(PIECE as u64)) {
                let begun = Instant::now();
                (0..piece).for_each(|_| log.emit(event()).expect("the log is open"));
                spent += begun.elapsed();
                log.flush().expect("the disk has room");
            }
            spent
        });
    });
    drop(log);
    let mut appender = Appender::open(&options, None)?;
    let batch: Vec<_> = (0..PIECE).map(|_| event()).collect();
    group.throughput(Throughput::Elements(PIECE as u64));
    group.bench_function("write a batch of 1000 lines", |bencher| {
        bencher.iter(|| appender.append(&batch).expect("the disk has room"));
    });
    group.finish();
    let log = AuditLog::start(&options, Some(&root), Role::Command)?;
    small_files(criterion, "audit", &Drive::recorded(Some(Arc::new(log)))?)
}

/// The event of a create.
fn event() -> Event {
    let arn = "arn:aws:iam::000000000000:user/ann".to_owned();
    let exe = Some("/usr/bin/tar".into());
    let actor =
        Actor { kind: "IAMUser", arn: Some(arn), user_name: Some("ann".to_owned()), exe, ..Actor::service() };
    let mut event = Event::new(EventName::PutObject, actor);
    event.request.bucket = Some("photos".into());
    event.request.key = Some("2026/november/img_0001.jpg".to_owned());
    event.details.object = Some([7; 16]);
    event.details.applied = Some(SseApplied::Default_SSE_S3);
    event
}

fn large_files(criterion: &mut Criterion, drive: &Drive) -> anyhow::Result<()> {
    let mut group = criterion.benchmark_group("engine");
    let mut piece = vec![0x5a; 1 << 20];
    let file = drive.create("large")?;
    let mut at = 0;
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("write 1 MiB", |bencher| {
        bencher.iter(|| {
            at = (at + (1 << 20)) % SPAN;
            file.write_at(at, &piece).expect("the disk has room")
        });
    });
    for offset in (0..SPAN).step_by(1 << 20) {
        file.write_at(offset, &piece)?;
    }
    file.flush()?;
    group.bench_function("read 1 MiB", |bencher| {
        bencher.iter(|| {
            at = (at + (1 << 20)) % SPAN;
            file.read_at(at, &mut piece).expect("it was just written")
        });
    });
    group.throughput(Throughput::Bytes(4096));
    group.bench_function("read 4 KiB", |bencher| {
        let mut block = [0; 4096];
        bencher.iter(|| {
            at = (at + 7919 * 4096) % SPAN;
            file.read_at(at, &mut block).expect("it was just written")
        });
    });
    group.finish();
    drive.engine.close(file);
    Ok(())
}

fn caller() -> Caller {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Caller { uid, gid, pid: 1, umask: 0o022 }
}

const ACCESS: OpenFlags = OpenFlags { read: true, write: true, append: false, truncate: false };
/// Events in a piece: far fewer than the queue holds.
const PIECE: usize = 1000;
/// What the large file is written and read over.
const SPAN: u64 = 64 << 20;
