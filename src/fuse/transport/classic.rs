//! The loop of a thread that waits on `/dev/fuse`.

use std::io;

use super::{
    super::{
        buffer::Buffer,
        protocol::{Header, fixed_len},
    },
    Device, Service,
    exchange::{Buffers, Outcome, exchange},
};

/// Serves until the connection ends.
pub(super) fn serve(device: &Device, service: &impl Service, max_write: u32) -> io::Result<()> {
    let most = usize::try_from(max_write).expect("a megabyte fits");
    let mut room =
        Room { input: Buffer::new(BEFORE_DATA + most), output: Buffer::new(most), len: 0, names: 0 };
    loop {
        let Some(len) = device.receive(room.input())? else { return Ok(()) };
        let Some(header) = room.take(len) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel sent less than a header"));
        };
        match exchange(service, device.backlog(), &header, &mut room) {
            Outcome::Reply(reply) => {
                let body = usize::try_from(reply.len).expect("it fits").saturating_sub(HEADER);
                if let Err(error) = device.reply(&reply, room.output.bytes().get(..body).unwrap_or_default())
                {
                    log::error!("the reply to request {} was refused: {error}", header.opcode);
                }
            }
            Outcome::Silence => {}
            Outcome::End => return Ok(()),
        }
    }
}

/// The buffers of one thread.
struct Room {
    input: Buffer,
    output: Buffer,
    /// Where the request ends, and where what follows its fixed fields begins.
    len: usize,
    names: usize,
}

impl Room {
    /// Where to read a request to: placed so that the data of a write begins at a page.
    fn input(&mut self) -> &mut [u8] {
        self.input.bytes_mut().get_mut(START..).expect("the buffer is longer than its beginning")
    }

    /// Takes in a request of `len` bytes.
    fn take(&mut self, len: usize) -> Option<Header> {
        let header = Header::decode(self.input.bytes().get(START..START + len)?).ok()?;
        self.len = START + len;
        self.input.mark(self.len);
        self.names = (START + Header::LEN + fixed_len(header.opcode)).min(self.len);
        Some(header)
    }
}

impl Buffers for Room {
    fn request(&self) -> (&[u8], &[u8]) {
        let bytes = self.input.bytes();
        let fixed = bytes.get(START + Header::LEN..self.names).unwrap_or_default();
        (fixed, bytes.get(self.names..self.len).unwrap_or_default())
    }

    fn answer(&mut self, len: usize) -> Option<&mut [u8]> {
        self.output.prefix_mut(len)
    }
}

/// Room for the header and the fixed fields of a request.
const BEFORE_DATA: usize = 4096;
/// The data of a write come 80 bytes after its beginning.
const START: usize = BEFORE_DATA - 80;
const HEADER: usize = super::super::protocol::OutHeader::LEN;
