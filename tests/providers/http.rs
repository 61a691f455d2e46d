//! Just enough HTTP/1.1 to pass requests on and to administer the services under test.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
};

/// A whole request or answer: its head with the empty line, then its body.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Reads one message; `None` at the end of the stream.
    pub(crate) fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(None);
            }
        }
        let mut message = Self { head, body: Vec::new() };
        if message.header("transfer-encoding").is_some_and(|value| value == "chunked") {
            message.body = read_chunks(stream)?;
        } else {
            let length = message.header("content-length").map_or(0, |value| value.parse().unwrap());
            message.body.resize(length, 0);
            stream.read_exact(&mut message.body)?;
        }
        Ok(Some(message))
    }

    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The message with a plain body of its length, as the last of its connection.
    pub(crate) fn write(&self, to: &mut TcpStream) -> io::Result<()> {
        let framing = ["content-length:", "transfer-encoding:", "connection:"];
        let is_kept = |line: &&str| !framing.iter().any(|name| line.to_ascii_lowercase().starts_with(name));
        let mut text: Vec<_> =
            self.head.trim_end().split("\r\n").filter(is_kept).map(str::to_owned).collect();
        text.push(format!("Content-Length: {}", self.body.len()));
        text.push("Connection: close\r\n\r\n".to_owned());
        to.write_all(text.join("\r\n").as_bytes())?;
        to.write_all(&self.body)
    }
}

/// Sends a request to a service on this machine; returns the status and the JSON of its answer.
pub(crate) fn ask(port: u16, head: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Message { head: format!("{head}\r\nHost: 127.0.0.1\r\n\r\n"), body }.write(&mut stream).unwrap();
    let answer = Message::read(&mut BufReader::new(stream)).unwrap().expect("an answer");
    let status = answer.head.split(' ').nth(1).unwrap().parse().unwrap();
    let value = if answer.body.is_empty() {
        serde_json::Value::Null
    } else {
        serde_json::from_slice(&answer.body).unwrap()
    };
    (status, value)
}

fn read_chunks(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend(&chunk[..length]);
    }
}
