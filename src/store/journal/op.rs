//! The operations in the body of a frame, as read back.
//!
//! The bytes have passed a checksum, not an authentication: every field is checked all the same.

use super::frame::OBJECT_FIXED_LEN;

/// The first byte of an operation. Code 7 is reserved and, like any other, refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum OpCode {
    Write = 1,
    Direct = 2,
    Truncate = 3,
    Punch = 4,
    Object = 5,
    Path = 6,
}

impl OpCode {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Write, Self::Direct, Self::Truncate, Self::Punch, Self::Object, Self::Path]
            .into_iter()
            .find(|code| *code as u8 == byte)
    }
}

/// An operation and the number of its object within the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Op<'a> {
    pub(super) object: u32,
    pub(super) action: Action<'a>,
}

/// What an operation says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action<'a> {
    /// These bytes stand at `offset`; `offset + bytes.len()` is a file offset.
    Write { offset: u64, bytes: &'a [u8] },
    /// The range is in place and durable.
    Direct { offset: u64, len: u64 },
    /// The file has this length.
    Truncate { len: u64 },
    /// The range is a hole.
    Punch { offset: u64, len: u64 },
    /// Who the object is; a second one for the same object names an id that it had before.
    Object { id: [u8; 16], inode: u64, path: &'a [u8] },
    /// Where the object is about to stand.
    Path(&'a [u8]),
}

/// Reads all of `body`, which must hold `count` operations; `None` when it is not well formed.
pub(super) fn parse(mut body: &[u8], count: u32) -> Option<Vec<Op<'_>>> {
    let count = usize::try_from(count).ok()?;
    if count > body.len() / OP_LEN {
        return None;
    }
    let mut ops = Vec::with_capacity(count);
    let mut objects = 0;
    for _ in 0..count {
        let (op, rest) = next(body)?;
        objects = declared(objects, &op)?;
        ops.push(op);
        body = rest;
    }
    body.is_empty().then_some(ops)
}

/// Objects number themselves from 0 in order, and each says who it is before anything else.
fn declared(objects: u32, op: &Op<'_>) -> Option<u32> {
    let introduces = matches!(op.action, Action::Object { .. }) && op.object == objects;
    if introduces { objects.checked_add(1) } else { (op.object < objects).then_some(objects) }
}

fn next(body: &[u8]) -> Option<(Op<'_>, &[u8])> {
    let (head, rest) = body.split_first_chunk::<OP_LEN>()?;
    let ([code, zeros @ ..], head) = head.split_first_chunk::<4>()?;
    let (object, head) = head.split_first_chunk::<4>()?;
    let (offset, head) = head.split_first_chunk::<8>()?;
    let (len, reserved) = head.split_first_chunk::<8>()?;
    let (offset, len) = (u64::from_be_bytes(*offset), u64::from_be_bytes(*len));
    let clean = *zeros == [0; 3] && reserved == [0; 8] && offset.checked_add(len)? <= MAX_OFFSET;
    let code = OpCode::from_byte(*code).filter(|_| clean)?;
    let (payload, rest) = match code {
        OpCode::Write | OpCode::Object | OpCode::Path => payload(rest, len)?,
        OpCode::Direct | OpCode::Truncate | OpCode::Punch => (&[][..], rest),
    };
    let action = action(code, offset, len, payload)?;
    Some((Op { object: u32::from_be_bytes(*object), action }, rest))
}

fn action(code: OpCode, offset: u64, len: u64, payload: &[u8]) -> Option<Action<'_>> {
    match code {
        OpCode::Write => (len > 0).then_some(Action::Write { offset, bytes: payload }),
        OpCode::Direct => (len > 0).then_some(Action::Direct { offset, len }),
        OpCode::Truncate => (len == 0).then_some(Action::Truncate { len: offset }),
        OpCode::Punch => (len > 0).then_some(Action::Punch { offset, len }),
        OpCode::Object => object(payload).filter(|_| offset == 0),
        OpCode::Path => (offset == 0 && len > 0).then_some(Action::Path(payload)),
    }
}

fn object(payload: &[u8]) -> Option<Action<'_>> {
    let (fixed, path) = payload.split_at_checked(OBJECT_FIXED_LEN)?;
    let (id, fixed) = fixed.split_first_chunk::<16>()?;
    let (inode, path_len) = fixed.split_first_chunk::<8>()?;
    let path_len = u16::from_be_bytes(path_len.try_into().ok()?);
    (usize::from(path_len) == path.len()).then_some(Action::Object {
        id: *id,
        inode: u64::from_be_bytes(*inode),
        path,
    })
}

/// Splits off `len` bytes and the zeros that pad them to a multiple of 8.
fn payload(rest: &[u8], len: u64) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(len).ok()?;
    let (payload, rest) = rest.split_at_checked(len)?;
    let (padding, rest) = rest.split_at_checked(len.checked_next_multiple_of(8)? - len)?;
    padding.iter().all(|byte| *byte == 0).then_some((payload, rest))
}

/// Bytes of an operation before its payload.
pub(super) const OP_LEN: usize = 32;
/// The largest file offset that Linux knows.
const MAX_OFFSET: u64 = i64::MAX.cast_unsigned();
