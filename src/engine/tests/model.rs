//! Random operations on an object, against a plain vector of bytes.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Write { offset: u64, len: usize, seed: u8 },
    Append { len: usize, seed: u8 },
    Read { offset: u64, len: usize },
    Resize { size: u64 },
    Punch { offset: u64, len: u64 },
    Zero { offset: u64, len: u64 },
    Seek { offset: u64, data: bool },
    Flush,
    Sync,
    Reopen,
    Restart,
}

/// Offsets cluster around block, segment and object borders, where mistakes live.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..20_000u64,
        (0..80u64, 0..5u64).prop_map(|(block, d)| (block * 4096).saturating_add(d).saturating_sub(2)),
        (0..5u64).prop_map(|d| 54 * 4096 + d - 2),
        (0..5u64).prop_map(|d| (54 + 128) * 4096 + d - 2),
        0..2_000_000u64,
    ]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![1..100usize, 4000..4200usize, 1..20_000usize, 60_000..200_000usize, Just(700_000)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (offset(), length(), any::<u8>()).prop_map(|(offset, len, seed)| Op::Write { offset, len, seed }),
        2 => (length(), any::<u8>()).prop_map(|(len, seed)| Op::Append { len, seed }),
        3 => (offset(), length()).prop_map(|(offset, len)| Op::Read { offset, len }),
        2 => offset().prop_map(|size| Op::Resize { size }),
        2 => (offset(), offset()).prop_map(|(offset, len)| Op::Punch { offset, len }),
        1 => (offset(), offset()).prop_map(|(offset, len)| Op::Zero { offset, len }),
        2 => (offset(), any::<bool>()).prop_map(|(offset, data)| Op::Seek { offset, data }),
        2 => Just(Op::Flush),
        1 => Just(Op::Sync),
        2 => Just(Op::Reopen),
        1 => Just(Op::Restart),
    ]
}

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 253).unwrap().wrapping_mul(7).wrapping_add(seed) | 1).collect()
}

fn put(model: &mut Vec<u8>, offset: usize, data: &[u8]) {
    model.resize(model.len().max(offset + data.len()), 0);
    model[offset..offset + data.len()].copy_from_slice(data);
}

fn clear(model: &mut [u8], offset: u64, len: u64) {
    let end = model.len().min((offset + len) as usize);
    if let Some(range) = model.get_mut(offset as usize..end) {
        range.fill(0);
    }
}

/// The system under test: an engine with one open object.
struct Bench {
    fixture: Fixture,
    open: Option<(Engine, OpenFile)>,
}

impl Bench {
    fn start(block_size: u64, limits: Limits) -> Self {
        let mut fixture = Fixture::with_bucket(block_size);
        fixture.limits = limits;
        let engine = fixture.engine();
        let file = create(&engine, "object");
        Self { fixture, open: Some((engine, file)) }
    }

    fn file(&self) -> &OpenFile {
        &self.open.as_ref().unwrap().1
    }

    fn reopen(&mut self, restart: bool) {
        let (engine, file) = self.open.take().unwrap();
        engine.close(file);
        let engine = if restart {
            drop(engine);
            self.fixture.engine()
        } else {
            engine
        };
        let file = open(&engine, "object", WRITE).unwrap();
        self.open = Some((engine, file));
    }

    fn apply(&mut self, op: &Op, model: &mut Vec<u8>) {
        match *op {
            Op::Write { offset, len, seed } => {
                assert_eq!(self.file().write_at(offset, &bytes(len, seed)).unwrap(), len);
                put(model, offset as usize, &bytes(len, seed));
            }
            Op::Append { len, seed } => {
                let end = model.len();
                self.file().write_at(end as u64, &bytes(len, seed)).unwrap();
                put(model, end, &bytes(len, seed));
            }
            Op::Read { offset, len } => {
                let mut got = vec![0xAA; len];
                let n = self.file().read_at(offset, &mut got).unwrap();
                let start = model.len().min(offset as usize);
                assert_eq!(&got[..n], &model[start..model.len().min(start + len)]);
            }
            Op::Resize { size } => {
                let (engine, file) = self.open.as_ref().unwrap();
                let set = SetAttr { size: Some(size), ..SetAttr::NOTHING };
                let attr = engine.set_attr(&caller(), file.item(), Some(file), &set).unwrap();
                assert_eq!(attr.size, size);
                model.resize(size as usize, 0);
            }
            Op::Punch { offset, len } => {
                self.file().allocate(Allocate::Punch, offset, len).unwrap();
                clear(model, offset, len);
            }
            Op::Zero { offset, len } => {
                self.file().allocate(Allocate::Zero { keep_size: false }, offset, len).unwrap();
                model.resize(model.len().max((offset + len) as usize), 0);
                clear(model, offset, len);
            }
            Op::Seek { offset, data } => self.check_seek(offset, data, model),
            Op::Flush => self.file().flush().unwrap(),
            Op::Sync => self.file().sync(true).unwrap(),
            Op::Reopen => self.reopen(false),
            Op::Restart => self.reopen(true),
        }
    }

    /// Data bytes of the model are never zero, so every one of them must be inside reported data.
    fn check_seek(&self, offset: u64, data: bool, model: &[u8]) {
        let found = self.file().seek(offset, data).unwrap();
        let Some(rest) = model.get(offset as usize..).filter(|rest| !rest.is_empty()) else {
            assert_eq!(found, None);
            return;
        };
        if data {
            let first = rest.iter().position(|b| *b != 0).map(|at| offset + at as u64);
            assert!(found.is_none_or(|found| found >= offset && found < model.len() as u64));
            assert!(
                first.is_none_or(|first| found.is_some_and(|found| found <= first)),
                "{found:?} {first:?}"
            );
        } else {
            let found = found.expect("the end counts as a hole");
            assert!(found >= offset && found <= model.len() as u64);
        }
    }

    fn check_all(&self, model: &[u8]) {
        let content = read_all(self.file(), model.len() + 10).unwrap();
        assert!(content == model, "content differs");
    }
}

fn run(block_size: u64, limits: Limits, ops: &[Op]) {
    let mut bench = Bench::start(block_size, limits);
    let mut model = Vec::new();
    for op in ops {
        bench.apply(op, &mut model);
    }
    bench.check_all(&model);
    bench.reopen(true);
    bench.check_all(&model);
    let (engine, file) = bench.open.take().unwrap();
    engine.close(file);
    let report = engine.verify(None, &mut |_| {}).unwrap();
    assert!(report.damaged.is_empty(), "{report:?}");
}

/// A save once punched the store where blocks had been punched and then written again: the new block was lost.
#[test]
fn a_block_written_again_after_a_punch_is_not_given_back() {
    let ops = [
        Op::Write { offset: 221_182, len: 3, seed: 0 },
        Op::Flush,
        Op::Zero { offset: 2, len: 225_278 },
        Op::Write { offset: 221_182, len: 1, seed: 0 },
        Op::Zero { offset: 221_182, len: 1 },
        Op::Punch { offset: 221_185, len: 221_184 },
    ];
    run(4096, Limits::default(), &ops);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn an_object_behaves_like_a_vector_of_bytes(ops in prop::collection::vec(op(), 1..40)) {
        run(4096, Limits::default(), &ops);
    }

    #[test]
    fn also_with_large_blocks(ops in prop::collection::vec(op(), 1..25)) {
        run(65536, Limits::default(), &ops);
    }

    #[test]
    fn also_with_hardly_any_memory(ops in prop::collection::vec(op(), 1..25)) {
        let limits = Limits { dirty_per_object: 4096, tag_cache: 4096, strict_open: 0, ..Limits::default() };
        run(4096, limits, &ops);
    }
}
