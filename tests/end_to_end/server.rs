//! The real server as a child, and a small client: one connection a request, so that leaving is closing it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{program, text};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs; it is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    errors: BufReader<ChildStderr>,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    /// The line that told it.
    pub(crate) line: String,
}

impl Server {
    /// Starts `serve` with these arguments on a free port and waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = program(&[&["serve", "--port", "0"], arguments].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("http://") {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "the server ended before it was ready");
        }
        let address = line["http://".len()..].split('/').next().unwrap().to_string();
        Self { child, errors, address, line: line.trim_end().to_string() }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Its exit code, and what else it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut rest = String::new();
        self.errors.read_to_string(&mut rest).unwrap();
        (status.code(), rest)
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, &[("Content-Type", "application/json")], &body.to_string())
    }

    /// A request and its whole answer.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.open(method, path, headers, body).whole()
    }

    /// A request whose answer is still to be read.
    pub(crate) fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        // A server that refuses early may close before it has read everything.
        let _ = stream.write_all(body.as_bytes());
        Answer(BufReader::new(stream))
    }

    /// Opens a stream of a completion and reads its first event.
    pub(crate) fn stream(&self, body: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        let mut answer = self.open("POST", "/v1/completions", &headers, &body.to_string());
        answer.line(|line| line.starts_with("data: "));
        answer
    }

    /// A number of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").body;
        let line =
            text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("{name}: {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until a number of `/metrics` is this one; returns how long that took.
    pub(crate) fn wait(&self, name: &str, value: f64) -> Duration {
        let start = Instant::now();
        while self.metric(name) != value {
            assert!(start.elapsed() < PATIENCE, "{name} is {}, expected {value}", self.metric(name));
            std::thread::sleep(Duration::from_millis(5));
        }
        start.elapsed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer that is being read; dropping it closes the connection.
pub(crate) struct Answer(BufReader<TcpStream>);

impl Answer {
    /// Reads up to the first line that fits.
    pub(crate) fn line(&mut self, fits: impl Fn(&str) -> bool) -> String {
        let mut line = String::new();
        while !fits(&line) {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the answer ended");
        }
        line
    }

    /// All that is left.
    pub(crate) fn whole(mut self) -> Reply {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        Reply::of(&bytes)
    }
}

/// An answer that was read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer with a head");
        let head = text(&bytes[..end]);
        let body = &bytes[end + 4..];
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            body.to_vec()
        };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: text(&body) }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The JSON of an answer that is one.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// The error of an answer that is none: its message and its field.
    #[track_caller]
    pub(crate) fn error(&self) -> (String, Option<String>) {
        let error = &serde_json::from_str::<Value>(&self.body).unwrap()["error"];
        assert!(error["type"].is_string(), "{}", self.body);
        (error["message"].as_str().unwrap().into(), error["param"].as_str().map(String::from))
    }

    /// The events of a stream, which must end as one.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        assert_eq!(self.header("content-type"), Some("text/event-stream"), "{}", self.body);
        let mut events: Vec<&str> = self.body.split("\n\n").collect();
        assert_eq!(events.pop(), Some(""));
        assert_eq!(events.pop(), Some("data: [DONE]"));
        events
            .iter()
            .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
            .collect()
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(&text(&bytes[..end]), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}
