//! Requests of the kernel: decoded and, where an answer is to be filled in, listed into a buffer as small as asked for.

use strongroom::{
    fuse::protocol::{Answer, Fill, Header, Lines, Offer, Opened, Operation, Request, fixed_len, opcode},
    store::Kind,
};

/// Decodes a request as `/dev/fuse` sends it, and its body as an offer.
pub fn run(data: &[u8]) -> bool {
    let Ok(header) = Header::decode(data) else { return false };
    let body = &data[Header::LEN..];
    if let Ok(offer) = Offer::decode(body) {
        assert!(!(offer.is_understood() && offer.is_too_new()));
    }
    let (fixed, rest) = body.split_at_checked(fixed_len(header.opcode)).unwrap_or((body, &[]));
    match Request::decode(&header, fixed, rest) {
        Err(_) | Ok(Request::Unknown) => false,
        Ok(Request::Operation(operation)) => looked_at(&operation, rest),
        Ok(Request::Fill(fill)) => listed(fill),
        Ok(Request::Forget(forgets)) => forgets.iter().count() <= 1 + rest.len() / 16,
        Ok(Request::Destroy) => true,
    }
}

/// Nothing that was decoded may reach beyond the request.
fn looked_at(operation: &Operation<'_>, rest: &[u8]) -> bool {
    if let Operation::Write { data, .. } | Operation::SetXattr { value: data, .. } = operation {
        assert!(data.len() <= rest.len());
    }
    let answer = Answer::Opened(Opened { handle: 1, flags: 0 });
    assert_eq!(answer.encode(&mut [0; 16]), Ok(16));
    assert!(answer.encode(&mut [0; 15]).is_err());
    true
}

fn listed(fill: Fill) -> bool {
    let size = usize::try_from(fill.size()).unwrap().min(1 << 20);
    let mut out = vec![0xAA; size];
    let mut lines = Lines::new(&mut out);
    for number in 0..100_u64 {
        let name = "n".repeat(usize::try_from(number).unwrap());
        let fits = match fill {
            Fill::ListPlus { .. } => lines.add_found(None, number, number, Kind::File, name.as_ref()),
            _ => lines.add(number, number, Kind::File, name.as_ref()),
        };
        if !fits {
            break;
        }
    }
    let used = lines.used();
    assert!(used <= size && used.is_multiple_of(8));
    assert!(out[used..].iter().all(|byte| *byte == 0xAA), "what did not fit left a trace");
    true
}

/// A request of every kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let names: &[u8] = b"from\0to\0";
    let numbers = |count: u32| (0..count).flat_map(u32::to_ne_bytes).collect::<Vec<_>>();
    let value = [4_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat();
    let written = [numbers(4), 8_u32.to_ne_bytes().to_vec(), numbers(5)].concat();
    let forgets = [2_u32.to_ne_bytes(), [0; 4]].concat();
    let requests = [
        (opcode::LOOKUP, vec![], names),
        (opcode::GETATTR, numbers(4), &[]),
        (opcode::SETATTR, numbers(22), &[]),
        (opcode::READLINK, vec![], &[]),
        (opcode::SYMLINK, vec![], names),
        (opcode::MKNOD, numbers(4), names),
        (opcode::MKDIR, numbers(2), names),
        (opcode::RENAME, numbers(2), names),
        (opcode::RENAME2, numbers(4), names),
        (opcode::LINK, numbers(2), names),
        (opcode::CREATE, numbers(4), names),
        (opcode::OPEN, numbers(2), &[]),
        (opcode::READ, numbers(10), &[]),
        (opcode::WRITE, written, names),
        (opcode::READDIR, numbers(10), &[]),
        (opcode::READDIRPLUS, numbers(10), &[]),
        (opcode::SETXATTR, value, b"user.x\0four"),
        (opcode::GETXATTR, numbers(2), names),
        (opcode::FALLOCATE, numbers(8), &[]),
        (opcode::LSEEK, numbers(6), &[]),
        (opcode::COPY_FILE_RANGE, numbers(14), &[]),
        (opcode::FORGET, numbers(2), &[]),
        (opcode::BATCH_FORGET, forgets, &[7; 32]),
    ];
    requests.into_iter().map(|(opcode, fixed, rest)| request(opcode, &fixed, rest)).collect()
}

fn request(opcode: u32, fixed: &[u8], rest: &[u8]) -> Vec<u8> {
    let len = u32::try_from(Header::LEN + fixed.len() + rest.len()).unwrap();
    let head = [len.to_ne_bytes(), opcode.to_ne_bytes()].concat();
    [&head, [0; 32].as_slice(), fixed, rest].concat()
}
