//! Connections: taken as they come, bounded in what they may keep waiting, and let go when the server ends.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::{self, Either};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use super::limits::Limits;
use super::metrics::Metrics;
use super::patience::Patient;

/// How long to wait for the system to have room for another connection.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Serves until `stop` is ready, and then until every connection has its answer. A connection is closed when the line and
/// headers of a request take longer than `header_time` to arrive, counted from when the server is ready for them: who
/// sends a letter a minute holds no connection, and who sends nothing any more neither; nor does who takes nothing of an
/// answer for `write_time`.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    metrics: &Arc<Metrics>,
    stop: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_time);
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let taken = match future::select(pin!(listener.accept()), &mut stop).await {
            Either::Left((taken, _)) => taken,
            Either::Right(_) => break,
        };
        let Ok((stream, _)) = taken else {
            // Most often there are too many open files, and some will be closed.
            tokio::time::sleep(NO_ROOM).await;
            continue;
        };
        // A token is small and is not to wait for the next one. Where that cannot be had, it is only slower.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let stream = Patient::new(stream, limits.write_time, metrics.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        // It fails where a client is gone, and nobody is left to be told.
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    graceful.shutdown().await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Instant;

    use axum::routing::get;
    use tokio::sync::oneshot;

    use super::*;

    const HEADER_TIME: Duration = Duration::from_millis(200);
    const WRITE_TIME: Duration = Duration::from_millis(1500);
    /// Bytes of an answer that no system's buffers take whole.
    const LONG: usize = 160 << 20;

    /// A server on a thread of its own; what ends it, and its address.
    fn server() -> (oneshot::Sender<()>, std::net::SocketAddr, std::thread::JoinHandle<()>) {
        counted(Arc::default())
    }

    fn counted(
        metrics: Arc<Metrics>,
    ) -> (oneshot::Sender<()>, std::net::SocketAddr, std::thread::JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = TcpListener::from_std(listener).unwrap();
                let slow = get(|| async {
                    tokio::time::sleep(2 * HEADER_TIME).await;
                    "late"
                });
                let stopped = async { drop(stopped.await) };
                let router =
                    Router::new().route("/", slow).route("/long", get(|| async { vec![b'x'; LONG] }));
                let limits = Limits { header_time: HEADER_TIME, write_time: WRITE_TIME, ..Limits::default() };
                serve(listener, router, &limits, &metrics, stopped).await;
            });
        });
        (stop, address, thread)
    }

    #[test]
    fn headers_that_do_not_arrive_close_the_connection_and_slow_answers_do_not() {
        let (_stop, address, _thread) = server();
        let begun = Instant::now();
        let mut held = TcpStream::connect(address).unwrap();
        held.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        held.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").unwrap();
        let mut said = Vec::new();
        held.read_to_end(&mut said).unwrap();
        assert!(begun.elapsed() >= HEADER_TIME && !String::from_utf8_lossy(&said).contains("200 OK"));

        let mut asked = TcpStream::connect(address).unwrap();
        asked.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut said = String::new();
        asked.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("late"), "{said}");
    }

    fn wait_for_unfinished(metrics: &Metrics, expected: i64) {
        let begun = Instant::now();
        while metrics.unfinished() != expected {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", metrics.unfinished());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn what_waits_to_be_sent_is_counted_and_waits_for_who_reads_slowly_alone() {
        let metrics = Arc::<Metrics>::default();
        let (_stop, address, _thread) = counted(metrics.clone());
        let ask = || {
            let mut asked = TcpStream::connect(address).unwrap();
            asked.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            asked
        };
        let mut slow = ask();
        let still = ask();
        wait_for_unfinished(&metrics, 2);
        // Within each of these times something is taken.
        let mut taken = 0;
        let mut bytes = vec![0; 4 << 20];
        for _ in 0..12 {
            slow.read_exact(&mut bytes).unwrap();
            taken += bytes.len();
            std::thread::sleep(WRITE_TIME / 4);
        }
        // By now the other one has waited for thrice as long as it may.
        wait_for_unfinished(&metrics, 1);
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).unwrap();
        assert!(taken + rest.len() > LONG, "{taken} and {}", rest.len());
        wait_for_unfinished(&metrics, 0);
        let mut rest = Vec::new();
        // What the system had taken is read, and then the end or a reset.
        let _ = std::io::Read::read_to_end(&mut { still }, &mut rest);
        assert!(rest.len() < LONG);
    }

    #[test]
    fn an_answer_that_was_begun_is_finished_when_the_server_ends() {
        let (stop, address, thread) = server();
        let mut asked = TcpStream::connect(address).unwrap();
        asked.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // The request is on its way before the end is.
        std::thread::sleep(HEADER_TIME);
        stop.send(()).unwrap();
        let mut said = String::new();
        asked.read_to_string(&mut said).unwrap();
        assert!(said.ends_with("late"), "{said}");
        thread.join().unwrap();
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}
