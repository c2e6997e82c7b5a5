//! The server in numbers, as Prometheus reads them. What the engine counts is asked of the engine, so that the numbers
//! are of one moment and add up: taken sequences are those that wait, those that run and those that ended.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gptneo_model::engine::EngineStats;

/// The histograms' bounds, in seconds.
const BOUNDS: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// What the server counts itself.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Finished requests by route and status.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    in_flight: AtomicI64,
    unsent: AtomicI64,
    seconds: Histogram,
    first_token: Histogram,
}

/// A request that is counted as in flight as long as this lives.
pub(super) struct InFlight(Arc<Metrics>);

impl InFlight {
    /// A request begins.
    pub(super) fn of(metrics: &Arc<Metrics>) -> Self {
        metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(metrics.clone())
    }
}

/// A connection that is counted as one with bytes to send as long as this lives.
pub(super) struct Unsent(Arc<Metrics>);

impl Unsent {
    /// Bytes wait to be sent.
    pub(super) fn of(metrics: &Arc<Metrics>) -> Self {
        metrics.unsent.fetch_add(1, Ordering::Relaxed);
        Self(metrics.clone())
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.0.unsent.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Requests whose answers are not made to their end.
    fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Connections with bytes that wait to be sent.
    fn unsent(&self) -> i64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// How many requests are not answered to their last byte, at least.
    pub(super) fn unfinished(&self) -> i64 {
        self.in_flight().max(self.unsent())
    }

    /// A request is answered, or its answer begins.
    pub(super) fn answered(&self, route: &str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route.to_string(), status)).or_default() += 1;
        drop(requests);
        self.seconds.add(took);
    }

    /// The first token of a request came after this time.
    pub(super) fn first_token(&self, after: Duration) {
        self.first_token.add(after);
    }

    /// All of it, with the engine's.
    pub(super) fn text(&self, engine: &EngineStats) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, engine);
        text
    }

    fn write(&self, out: &mut String, engine: &EngineStats) -> fmt::Result {
        head(out, "gptneo_http_requests_total", "counter", "Requests that were answered.")?;
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for ((route, status), count) in requests {
            writeln!(out, "gptneo_http_requests_total{{path=\"{route}\",status=\"{status}\"}} {count}")?;
        }
        let unfinished = "Requests whose answers are not made to their end.";
        single(out, "gptneo_http_requests_in_flight", "gauge", unfinished, self.in_flight())?;
        let unsent = "Connections with bytes that their clients have not taken yet.";
        single(out, "gptneo_http_connections_unsent", "gauge", unsent, self.unsent())?;
        self.seconds.write(
            out,
            "gptneo_http_request_seconds",
            "Time until the answer, or its first piece.",
        )?;
        self.first_token.write(out, "gptneo_first_token_seconds", "Time until a request's first token.")?;
        single(out, "gptneo_sequences_running", "gauge", "Sequences in the batch.", engine.running)?;
        single(out, "gptneo_sequences_queued", "gauge", "Sequences that wait.", engine.queued)?;
        let taken = "Sequences taken: those that wait, run and ended.";
        single(out, "gptneo_sequences_accepted_total", "counter", taken, engine.accepted)?;
        let refused = "Sequences refused because the queue was full.";
        single(out, "gptneo_sequences_refused_total", "counter", refused, engine.refused)?;
        head(out, "gptneo_sequences_ended_total", "counter", "Sequences that ended, by the reason.")?;
        let ended = [
            ("end", engine.ended),
            ("length", engine.reached_length),
            ("cancelled", engine.cancelled),
            ("failed", engine.failed),
        ];
        for (reason, count) in ended {
            writeln!(out, "gptneo_sequences_ended_total{{reason=\"{reason}\"}} {count}")?;
        }
        single(
            out,
            "gptneo_cache_tokens",
            "gauge",
            "Tokens that the cache holds at most.",
            engine.cache_tokens,
        )?;
        let free = "Tokens that the cache has room for.";
        single(out, "gptneo_cache_tokens_free", "gauge", free, engine.free_cache_tokens)?;
        single(
            out,
            "gptneo_prompt_tokens_total",
            "counter",
            "Tokens of prompts read.",
            engine.prompt_tokens,
        )?;
        single(out, "gptneo_new_tokens_total", "counter", "Tokens chosen.", engine.new_tokens)?;
        single(out, "gptneo_steps_total", "counter", "Steps of the engine.", engine.steps)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn single(out: &mut String, name: &str, kind: &str, help: &str, value: impl fmt::Display) -> fmt::Result {
    head(out, name, kind, help)?;
    writeln!(out, "{name} {value}")
}

/// How many times were within which bound.
#[derive(Debug, Default)]
struct Histogram {
    /// By the first bound that the time is within; the last is for those beyond all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Histogram {
    fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bound = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bound].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) -> fmt::Result {
        head(out, name, "histogram", help)?;
        let mut below = 0;
        for (number, count) in self.counts.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            match BOUNDS.get(number) {
                Some(bound) => writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {below}")?,
                None => writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {below}")?,
            }
        }
        let seconds = self.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        writeln!(out, "{name}_sum {seconds}\n{name}_count {below}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let metrics = Arc::new(Metrics::default());
        for milliseconds in [5, 50, 500_000] {
            metrics.answered("/v1/models", 200, Duration::from_millis(milliseconds));
        }
        let in_flight = InFlight::of(&metrics);
        let text = metrics.text(&EngineStats::default());
        for line in [
            "gptneo_http_requests_total{path=\"/v1/models\",status=\"200\"} 3",
            "gptneo_http_request_seconds_bucket{le=\"0.01\"} 1",
            "gptneo_http_request_seconds_bucket{le=\"0.1\"} 2",
            "gptneo_http_request_seconds_bucket{le=\"300\"} 2",
            "gptneo_http_request_seconds_bucket{le=\"+Inf\"} 3",
            "gptneo_http_request_seconds_count 3",
            "gptneo_http_requests_in_flight 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        drop(in_flight);
        assert!(metrics.text(&EngineStats::default()).contains("gptneo_http_requests_in_flight 0"));
    }
}
