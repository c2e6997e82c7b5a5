//! A small server that plays the Hub on this machine: repositories in memory, the calls that the client makes, and
//! faults to order. Large files are sent from another address, as the Hub does.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The token that may write, and read what is private.
pub(crate) const TOKEN: &str = "hf_SecretOfTheTest0123456789";

/// A repository.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repository {
    pub(crate) commit: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) gated: bool,
    pub(crate) private: bool,
}

/// What goes wrong with the next request that it fits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Any request is answered with this status.
    Status(u16),
    /// A file's content ends in its middle.
    Cut,
    /// A file's content has a byte that it should not have.
    Damaged,
    /// The list of files gives a size that is too large by one.
    WrongSize,
    /// A file's content comes in small pieces.
    Slow,
    /// A file's content stops coming, and the connection stays.
    Stalled,
}

/// What the server has and what it saw.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By `models/owner/name` and `datasets/owner/name`.
    pub(crate) repositories: BTreeMap<String, Repository>,
    /// Used up one by one.
    pub(crate) faults: VecDeque<Fault>,
    /// Every request's method and path.
    pub(crate) requests: Vec<String>,
    /// The lines of every commit.
    pub(crate) commits: Vec<Vec<Value>>,
}

impl State {
    /// Takes the next fault if it is one of those.
    fn fault(&mut self, fits: impl Fn(&Fault) -> bool) -> Option<Fault> {
        self.faults.pop_front_if(|fault| fits(fault))
    }
}

/// The running server. It stops with the process.
pub(crate) struct Hub {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, own) = (state.clone(), address.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (shared, own) = (shared.clone(), own.clone());
                // A client that goes away is no failure of the server.
                std::thread::spawn(move || _ = serve(connection, &shared, &own));
            }
        });
        Self { address, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds a repository with files from a folder; its commit is `mark` forty times.
    pub(crate) fn add(&self, name: &str, mark: char, files: &[(&str, &Path)]) {
        let files = files.iter().map(|(name, path)| ((*name).to_string(), std::fs::read(path).unwrap()));
        let repository = Repository {
            commit: mark.to_string().repeat(40),
            files: files.collect(),
            ..Repository::default()
        };
        self.state().repositories.insert(name.to_string(), repository);
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }
}

/// What the server answers.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    fault: Option<Fault>,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), fault: None }
    }

    fn json(value: &Value) -> Self {
        Self::new(200, value.to_string())
    }

    fn error(status: u16, code: &'static str, words: &str) -> Self {
        let answer = Self::new(status, json!({ "error": words }).to_string());
        answer.with("X-Error-Code", code).with("X-Error-Message", words)
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// A request.
struct Request {
    method: String,
    path: String,
    token: Option<String>,
    body: Vec<u8>,
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_string());
    }
    let header = |name: &str| {
        let found = lines.iter().filter_map(|line| line.split_once(": "));
        found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_string()).next()
    };
    let length = header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut first = lines.first().map(String::as_str).unwrap_or_default().split(' ').map(String::from);
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let token = header("authorization").and_then(|text| text.strip_prefix("Bearer ").map(String::from));
    Ok(Request { method, path, token, body })
}

fn serve(stream: TcpStream, state: &Mutex<State>, address: &str) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{} {}", request.method, request.path));
        match state.fault(|fault| matches!(fault, Fault::Status(_))) {
            Some(Fault::Status(status)) => Answer::error(status, "", "not now").with("Retry-After", 7),
            _ => route(&request, &mut state, address),
        }
    };
    send(stream, &request, answer)
}

fn send(mut stream: TcpStream, request: &Request, answer: Answer) -> std::io::Result<()> {
    let Answer { status, headers, mut body, fault } = answer;
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    match fault {
        Some(Fault::Damaged) => body[0] ^= 1,
        Some(Fault::Cut | Fault::Stalled) => body.truncate(body.len() / 2),
        _ => {}
    }
    match fault {
        Some(Fault::Slow) => {
            for piece in body.chunks(body.len().div_ceil(20)) {
                stream.write_all(piece)?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        _ => stream.write_all(&body)?,
    }
    if fault == Some(Fault::Stalled) {
        std::thread::sleep(Duration::from_secs(5));
    }
    Ok(())
}

fn route(request: &Request, state: &mut State, address: &str) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let writes = request.token.as_deref() == Some(TOKEN);
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["api", "repos", "create"]) if writes => create(request, state, address),
        ("POST", ["api", "models", owner, name, "preupload", _]) if writes => {
            assert!(state.repositories.contains_key(&format!("models/{owner}/{name}")));
            preupload(request)
        }
        ("POST", [_, name, "info", "lfs", "objects", "batch"]) if writes && name.ends_with(".git") => {
            // A transfer that the client does not speak: it sends the content with the commit.
            Answer::json(&json!({ "transfer": "basic", "objects": [] }))
        }
        ("POST", ["api", "models", owner, name, "commit", "main"]) if writes => {
            let text = String::from_utf8(request.body.clone()).unwrap();
            state.commits.push(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
            let url = format!("{address}/{owner}/{name}/commit/{}", "c".repeat(40));
            Answer::json(&json!({ "commitUrl": url, "commitOid": "c".repeat(40) }))
        }
        ("POST", _) => Answer::error(401, "", "Invalid username or password."),
        ("GET", ["api", kind, owner, name, rest @ ..]) => {
            let name = format!("{kind}/{owner}/{name}");
            match readable(&name, request, state) {
                Ok(repository) => about(&name, repository, rest, state),
                Err(answer) => answer,
            }
        }
        (_, ["cdn", kind, owner, name, file @ ..]) => {
            let repository = &state.repositories[&format!("{kind}/{owner}/{name}")];
            let body = repository.files[&file.join("/")].clone();
            content(request, state, Answer::new(200, body))
        }
        (_, ["datasets", owner, name, "resolve", revision, file @ ..]) => {
            resolve(&format!("datasets/{owner}/{name}"), revision, &file.join("/"), request, state, address)
        }
        (_, [owner, name, "resolve", revision, file @ ..]) => {
            resolve(&format!("models/{owner}/{name}"), revision, &file.join("/"), request, state, address)
        }
        _ => Answer::error(404, "", "no such page"),
    }
}

/// The repository, or how the Hub hides it: a stranger is not told whether it exists.
fn readable(name: &str, request: &Request, state: &State) -> Result<Repository, Answer> {
    let known = request.token.as_deref() == Some(TOKEN);
    match state.repositories.get(name) {
        Some(repository) if !repository.private || known => Ok(repository.clone()),
        _ if known => Err(Answer::error(404, "RepoNotFound", "Repository not found")),
        _ => Err(Answer::error(401, "RepoNotFound", "Invalid username or password.")),
    }
}

fn about(name: &str, repository: Repository, rest: &[&str], state: &mut State) -> Answer {
    let id = name.split_once('/').unwrap().1;
    match rest {
        [] | ["revision", "main"] => {
            Answer::json(&json!({ "id": id, "sha": repository.commit, "private": repository.private }))
        }
        ["revision", revision] if *revision == repository.commit => {
            Answer::json(&json!({ "id": id, "sha": repository.commit }))
        }
        ["revision", _] => Answer::error(404, "RevisionNotFound", "Invalid rev id"),
        ["tree", _] => {
            let more = u64::from(state.fault(|fault| *fault == Fault::WrongSize).is_some());
            let files = repository.files.iter().map(|(path, bytes)| {
                let (size, large) = (bytes.len() as u64 + more, is_large(path));
                let lfs =
                    large.then(|| json!({ "oid": hash::<Sha256>(bytes), "size": size, "pointerSize": 134 }));
                json!({ "type": "file", "oid": git_hash(bytes), "size": size, "path": path, "lfs": lfs })
            });
            Answer::json(&Value::Array(files.collect()))
        }
        _ => Answer::error(404, "", "no such page"),
    }
}

fn resolve(
    name: &str,
    revision: &str,
    file: &str,
    request: &Request,
    state: &mut State,
    address: &str,
) -> Answer {
    let repository = match readable(name, request, state) {
        Ok(repository) => repository,
        Err(answer) => return answer,
    };
    if repository.gated && request.token.is_none() {
        return Answer::error(401, "GatedRepo", "Access to this repository is restricted.");
    }
    if repository.gated {
        return Answer::error(403, "GatedRepo", "You are not in the authorized list.");
    }
    if revision != "main" && revision != repository.commit {
        return Answer::error(404, "RevisionNotFound", "Invalid rev id");
    }
    let Some(bytes) = repository.files.get(file) else {
        return Answer::error(404, "EntryNotFound", "Entry not found");
    };
    if is_large(file) {
        return Answer::new(302, "")
            .with("Location", format!("{address}/cdn/{name}/{file}"))
            .with("X-Repo-Commit", &repository.commit)
            .with("X-Linked-ETag", format!("\"{}\"", hash::<Sha256>(bytes)))
            .with("X-Linked-Size", bytes.len());
    }
    let answer = Answer::new(200, bytes.clone())
        .with("X-Repo-Commit", &repository.commit)
        .with("ETag", format!("\"{}\"", git_hash(bytes)));
    content(request, state, answer)
}

/// A file's content, with the next fault of those that a content can have.
fn content(request: &Request, state: &mut State, mut answer: Answer) -> Answer {
    if request.method == "GET" {
        answer.fault =
            state.fault(|fault| matches!(fault, Fault::Cut | Fault::Damaged | Fault::Slow | Fault::Stalled));
    }
    answer
}

fn create(request: &Request, state: &mut State, address: &str) -> Answer {
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    let name = format!("{}/{}", asked["organization"].as_str().unwrap(), asked["name"].as_str().unwrap());
    let private = asked["private"].as_bool().unwrap();
    let key = format!("models/{name}");
    if state.repositories.contains_key(&key) {
        return Answer::error(409, "", "You already created this model repo");
    }
    state.repositories.insert(key, Repository { private, commit: "0".repeat(40), ..Repository::default() });
    Answer::json(&json!({ "url": format!("{address}/{name}") }))
}

fn preupload(request: &Request) -> Answer {
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    let files = asked["files"].as_array().unwrap().iter().map(|file| {
        let path = file["path"].as_str().unwrap();
        json!({ "path": path, "uploadMode": if is_large(path) { "lfs" } else { "regular" } })
    });
    Answer::json(&json!({ "files": files.collect::<Vec<_>>() }))
}

fn is_large(path: &str) -> bool {
    [".safetensors", ".bin", ".parquet"].iter().any(|end| path.ends_with(end))
}

fn hash<D: Digest>(bytes: &[u8]) -> String {
    D::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Git's name for a file's content.
fn git_hash(bytes: &[u8]) -> String {
    hash::<sha1::Sha1>(&[format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat())
}
