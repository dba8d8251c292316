//! As much of an HTTP client as the tests of the status page need, with full say over each byte
//! that is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A response that was read to its end.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Connects and sends these bytes.
pub fn send(address: SocketAddr, bytes: &[u8]) -> BufReader<TcpStream> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    // A server that has heard enough may close before all is sent.
    let _ = socket.write_all(bytes);
    BufReader::new(socket)
}

/// One request with these header lines, each ended by CR LF.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &str) -> Response {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n"
    );
    let mut reader = send(address, head.as_bytes());
    let mut response = read_head(&mut reader)
        .unwrap_or_else(|| panic!("{method} {path}: closed without an answer"));
    reader.read_to_end(&mut response.body).unwrap();
    response
}

pub fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, "")
}

/// Status and headers; `None` where the connection ended before.
pub fn read_head(reader: &mut impl BufRead) -> Option<Response> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line);
    }
    let status = lines.first()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    Some(Response {
        status,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: Vec::new(),
    })
}

/// The moving picture, part by part.
pub struct Moving {
    chunks: Chunks<BufReader<TcpStream>>,
}

impl Moving {
    pub fn open(address: SocketAddr, path: &str) -> Moving {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let mut reader = send(address, head.as_bytes());
        let head = read_head(&mut reader).unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(
            head.header("content-type"),
            Some("multipart/x-mixed-replace; boundary=lancam")
        );
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        let mut moving = Moving {
            chunks: Chunks { reader, left: 0 },
        };
        assert_eq!(moving.line(), "--lancam");
        moving
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.chunks.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// The next picture.
    pub fn next(&mut self) -> Vec<u8> {
        assert_eq!(self.line(), "Content-Type: image/jpeg");
        let length = self.line();
        let length = length.strip_prefix("Content-Length: ").unwrap();
        assert_eq!(self.line(), "");
        let mut jpeg = vec![0; length.parse().unwrap()];
        self.chunks.read_exact(&mut jpeg).unwrap();
        assert_eq!(self.line(), "");
        assert_eq!(self.line(), "--lancam");
        jpeg
    }
}

/// RFC 9112 §7.1, without trailers.
struct Chunks<R> {
    reader: R,
    left: usize,
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            self.left = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        }
        let most = out.len().min(self.left);
        let n = self.reader.read(&mut out[..most])?;
        self.left -= n;
        if self.left == 0 {
            self.reader.read_exact(&mut [0; 2])?;
        }
        Ok(n)
    }
}
