//! HTTP in front of the engine, as OpenAI's clients speak it, and a page to ask the models side by side.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! use burn_flex::Flex;
//! use gptneo_datasets::{PromptTemplate, Turns, train_byte_level_bpe};
//! use gptneo_model::engine::{Engine, EngineLimits};
//! use gptneo_model::{GptNeo, GptNeoConfig};
//! use gptneo_serve::{ChatTemplate, Ended, Models, Origins, ServedModel, Server, oneshot, serve};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! // Or a folder's model and tokenizer.
//! let config = GptNeoConfig::from_json(serde_json::from_str(
//!     r#"{
//!         "vocab_size": 300, "hidden_size": 16, "num_heads": 2, "num_layers": 2, "max_position_embeddings": 32,
//!         "attention_types": [[["global", "local"], 1]]
//!     }"#,
//! )?)?;
//! let texts = ["Asthma is a disease of the lungs.".to_string()];
//! let tokenizer = train_byte_level_bpe(texts.into_iter(), 300, folder)?;
//! let model = GptNeo::<Flex>::init(&config, &Default::default());
//!
//! let template = ChatTemplate::new(&PromptTemplate::default().chat_template(Turns::One), tokenizer.end_of_text_token())?;
//! let end_tokens = vec![tokenizer.end_of_text()];
//! let models = Models::new(ServedModel { name: "small".into(), adapter: None, template, end_tokens }, Vec::new());
//! let engine = Engine::start(model, Vec::new(), EngineLimits::of(&config))?;
//! let server = Server::new(engine, tokenizer, models, None);
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let (stop, stopped) = oneshot::channel();
//! let serving = std::thread::spawn(move || serve(listener, server, &Origins::default(), stopped));
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.contains(r#""id":"small""#), "{answer}");
//!
//! let _ = stop.send(());
//! assert_eq!(serving.join().expect("it does not panic")?, Ended::Drained);
//! # Ok(())
//! # }
//! ```
//!
//! A request is read and checked by `openai`, becomes a plan that `answer` asks the engine for, and its pieces of
//! text are made by `text` and sent by `events`. Whoever leaves takes the request along: dropping what waits for the
//! pieces cancels the sequences. The crate opens no port and hears no signal: who calls [`serve`] gives it a listener
//! and says when to stop.

mod answer;
mod chat_template;
mod connections;
mod error;
mod events;
mod key;
mod limits;
mod metrics;
mod models;
mod openai;
mod openapi;
mod page;
mod patience;
mod reply;
mod router;
mod routes;
mod server;
mod text;

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::{self, Either};

pub use self::chat_template::{ChatTemplate, Message, RenderError};
pub use self::key::Key;
pub use self::models::{Models, ServedModel};
pub use self::router::Origins;
pub use self::server::Server;
/// What tells a server to stop.
pub use tokio::sync::oneshot;

/// Threads for requests; what is computed has threads of its own.
const THREADS: usize = 2;
/// Threads for work that takes its time, at least.
const ASIDE: usize = 2;
/// How long connections that ask for nothing may stay when the server ends.
const LEAVE: Duration = Duration::from_millis(500);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file cannot be read.
    #[error("cannot read the {what} in {}: {source}", path.display())]
    Unreadable {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file does not hold one key.
    #[error("{} {fault}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what was expected.
        fault: &'static str,
    },
    /// A text is no chat template.
    #[error("{0}")]
    NoTemplate(String),
    /// A text names no site.
    #[error("{0:?} is no origin: expected a scheme and a host, such as https://example.org, or *")]
    NoOrigin(String),
    /// The system gives no threads.
    #[error("the server gets no threads: {0}")]
    NoThreads(io::Error),
    /// Nothing can be heard at the address any more.
    #[error("the server cannot go on: {0}")]
    Listener(io::Error),
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All that was begun was answered.
    Drained,
    /// So many requests were cut off, because they took too long.
    CutOff(i64),
}

/// Serves until `stop` is told, and then until all that was begun is answered, for as long as the limits allow.
///
/// # Errors
/// The system gives no threads, or the listener fails.
pub fn serve(
    listener: TcpListener,
    server: Server,
    origins: &Origins,
    stop: oneshot::Receiver<()>,
) -> Result<Ended, ServeError> {
    check_threads().map_err(ServeError::NoThreads)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.map_err(ServeError::NoThreads)?;
    let server = Arc::new(server);
    let router = router::router(&server, origins);
    let ended = runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (ending, ends) = oneshot::channel();
        let stopped = async {
            // A sender that is gone means the same.
            let _ = stop.await;
            server.end();
            let _ = ending.send(());
        };
        let serving = connections::serve(listener, router, &server.limits, &server.metrics, stopped);
        let cut = async {
            let _ = ends.await;
            drained(&server).await
        };
        Ok(match future::select(pin!(serving), pin!(cut)).await {
            Either::Left(_) => Ended::Drained,
            Either::Right((ended, _)) => ended,
        })
    });
    runtime.shutdown_timeout(LEAVE);
    ended.map_err(ServeError::Listener)
}

/// Tries to make the threads of the runtime, which panics where it gets none, and of those for work aside.
fn check_threads() -> io::Result<()> {
    let made = (0..THREADS + ASIDE).map(|_| thread::Builder::new().spawn(thread::park));
    let (made, refused): (Vec<_>, Vec<_>) = made.partition(Result::is_ok);
    for thread in made.into_iter().flatten() {
        thread.thread().unpark();
        // It does nothing that could panic.
        let _ = thread.join();
    }
    refused.into_iter().try_for_each(|refused| refused.map(drop))
}

/// Waits until nothing is in flight, or the limit.
async fn drained(server: &Server) -> Ended {
    let until = tokio::time::Instant::now() + server.limits.drain;
    loop {
        let unfinished = server.metrics.unfinished();
        if unfinished == 0 {
            // Connections that only stay open are not worth waiting for.
            tokio::time::sleep(LEAVE).await;
            if server.metrics.unfinished() == 0 {
                return Ended::Drained;
            }
        }
        if tokio::time::Instant::now() >= until {
            return Ended::CutOff(unfinished.max(1));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
