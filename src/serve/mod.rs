//! HTTP in front of the engine, as OpenAI's clients speak it, and a page to ask the models side by side.
//!
//! A request is read and checked by [`openai`], becomes a plan that `answer` asks the engine for, and its pieces of text
//! are made by [`text`] and sent by `events`. Whoever leaves takes the request along: dropping what waits for the pieces
//! cancels the sequences.

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
mod reply;
mod router;
mod routes;
mod server;
mod text;

use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::{self, Either};
use tokio::sync::oneshot;

pub(crate) use self::chat_template::{ChatTemplate, Message};
pub(crate) use self::key::Key;
pub(crate) use self::models::{Models, ServedModel};
pub(crate) use self::router::Origins;
pub(crate) use self::server::Server;

/// Threads for requests; what is computed has threads of its own.
const THREADS: usize = 2;
/// How long connections that ask for nothing may stay when the server ends.
const LEAVE: Duration = Duration::from_millis(500);

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All that was begun was answered.
    Drained,
    /// So many requests were cut off, because they took too long.
    CutOff(i64),
}

/// Serves until `stop` is told, and then until all that was begun is answered, for as long as the limits allow.
///
/// # Errors
/// The system gives no thread, or the listener fails.
pub(crate) fn serve(
    listener: TcpListener,
    server: Server,
    origins: &Origins,
    stop: oneshot::Receiver<()>,
) -> Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.context("the server gets no threads")?;
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
        let serving = connections::serve(listener, router, server.limits.header_time, stopped);
        let cut = async {
            let _ = ends.await;
            drained(&server).await
        };
        anyhow::Ok(match future::select(pin!(serving), pin!(cut)).await {
            Either::Left(_) => Ended::Drained,
            Either::Right((ended, _)) => ended,
        })
    });
    runtime.shutdown_timeout(LEAVE);
    ended.context("the server cannot go on")
}

/// Waits until nothing is in flight, or the limit.
async fn drained(server: &Server) -> Ended {
    let until = tokio::time::Instant::now() + server.limits.drain;
    loop {
        let unfinished = server.metrics.in_flight();
        if unfinished == 0 {
            // Connections that only stay open are not worth waiting for.
            tokio::time::sleep(LEAVE).await;
            return Ended::Drained;
        }
        if tokio::time::Instant::now() >= until {
            return Ended::CutOff(unfinished);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
