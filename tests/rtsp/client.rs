//! A strict RTSP client: it says each byte itself, and checks each answer against RFC 2326.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::common::PATIENCE;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// The value of a header; its name is compared as RFC 2326 §4.2 says.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.header(name).is_empty()
    }

    /// The value of `name=value` in the Transport header.
    pub(crate) fn transport(&self, name: &str) -> &str {
        let mut parts = self.header("Transport").split(';');
        parts
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The Session header for further requests.
    pub(crate) fn session(&self) -> String {
        let id = self.header("Session").split(';').next().unwrap();
        // §3.4: "at least 8 octets".
        assert!(id.len() >= 8, "{self:?}");
        format!("Session: {id}\r\n")
    }
}

/// A client with its connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    server: SocketAddr,
    cseq: u32,
    /// Interleaved frames that came before an answer.
    frames: VecDeque<(u8, Vec<u8>)>,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(server: SocketAddr) -> Client {
        Client::over(TcpStream::connect(server).unwrap())
    }

    /// The same over a connection that is there.
    pub(crate) fn over(socket: TcpStream) -> Client {
        let server = socket.peer_addr().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Client {
            reader: BufReader::new(socket),
            server,
            cseq: 0,
            frames: VecDeque::new(),
        }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.reader.get_ref().local_addr().unwrap()
    }

    /// The address of a stream or track.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtsp://{}{path}", self.server)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // A server that has heard enough may close before all is sent.
        let _ = self.reader.get_mut().write_all(bytes);
    }

    /// Asks, and checks what every answer must have.
    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &str) -> Reply {
        self.cseq += 1;
        let url = self.url(path);
        let cseq = self.cseq;
        let text = format!("{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\n{headers}\r\n");
        self.send(text.as_bytes());
        let reply = self
            .reply()
            .unwrap_or_else(|| panic!("no answer to {text:?}"));
        // §12.17: "for every RTSP request containing the given sequence number there will be a
        // corresponding response having the same number".
        assert_eq!(reply.header("CSeq"), cseq.to_string(), "{reply:?}");
        if !reply.body.is_empty() {
            // §12.16.
            assert!(reply.has("Content-Type"), "{reply:?}");
        }
        reply
    }

    /// The same, where it must succeed.
    pub(crate) fn get(&mut self, method: &str, path: &str, headers: &str) -> Reply {
        let reply = self.ask(method, path, headers);
        assert_eq!(reply.status, 200, "{method} {path} {headers}: {reply:?}");
        reply
    }

    /// The next answer; frames before it are kept. `None`: the connection has ended.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        while self.reader.fill_buf().ok()?.first()? == &b'$' {
            let frame = self.read_frame()?;
            self.frames.push_back(frame);
        }
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            // §4: "Lines are terminated by CRLF".
            let line = line.strip_suffix("\r\n").expect("CR LF");
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        // §7.1: RTSP-Version SP Status-Code SP Reason-Phrase.
        let mut words = lines[0].splitn(3, ' ');
        assert_eq!(words.next(), Some("RTSP/1.0"));
        let status = words.next().unwrap();
        assert_eq!(status.len(), 3);
        assert!(words.next().is_some_and(|phrase| !phrase.is_empty()));
        let split = |line: &String| {
            let (name, value) = line.split_once(':').expect("a header");
            (name.to_owned(), value.trim().to_owned())
        };
        let mut reply = Reply {
            status: status.parse().unwrap(),
            headers: lines[1..].iter().map(split).collect(),
            body: String::new(),
        };
        // §12.14: no Content-Length is no body.
        let mut body = vec![0; reply.header("Content-Length").parse().unwrap_or(0)];
        self.reader.read_exact(&mut body).ok()?;
        reply.body = String::from_utf8(body).unwrap();
        Some(reply)
    }

    /// The next interleaved frame: its channel and its packet. §10.12.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let kept = self.frames.pop_front();
        kept.unwrap_or_else(|| self.read_frame().expect("an interleaved frame"))
    }

    /// Interleaved frames that came before the last answer.
    pub(crate) fn kept(&mut self) -> usize {
        self.frames.len()
    }

    fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 4];
        self.reader.read_exact(&mut head).ok()?;
        assert_eq!(head[0], b'$', "a frame is cut");
        let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        self.reader.read_exact(&mut packet).ok()?;
        Some((head[1], packet))
    }

    /// The server ends the connection, without another word.
    pub(crate) fn assert_over(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.reader.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}
