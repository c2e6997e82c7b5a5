//! `serve`: a base and its adapters over HTTP.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Result, anyhow};
use gptneo_lora::run::engine::{Served, start_engine};
use gptneo_model::GptNeoConfig;
use gptneo_model::engine::EngineLimits;
use gptneo_serve::{Ended, Key, Origins, Server, oneshot, serve};

use super::served::Opened;
use crate::cli::ServeArgs;
use crate::terminal::failure::Misuse;
use crate::terminal::{interrupt, notes};

/// What the cache of keys and values may take where nothing else is said, in bytes.
const USUAL_CACHE: usize = 1 << 30;

/// Runs the command.
pub(crate) fn run(args: &ServeArgs) -> Result<()> {
    let (place, weights) = (args.backend.place(), args.weights.weights);
    // What can be refused is refused before anything is downloaded or loaded.
    place.check()?;
    place.check_weights(weights)?;
    let origins = Origins::of(&args.cors).map_err(|error| Misuse::error(format!("--cors {error}")))?;
    let key = args.api_key_file.as_deref().map(Key::read).transpose()?;
    let listener = listen(&args.host, args.port)?;
    let address = listener.local_addr()?;
    let Opened { folder, adapters, models } = Opened::of(&args.served)?;
    let limits = EngineLimits {
        max_batch: args.max_batch,
        max_queue: args.max_queue,
        cache_tokens: args.cache_tokens.unwrap_or(usual_cache(folder.config(), args.max_batch)),
        ..EngineLimits::of(folder.config())
    };
    let engine = start_engine(place, Served { model: &folder, adapters: &adapters, weights, limits })?;
    if !address.ip().is_loopback() && key.is_none() {
        notes::say("whoever reaches this machine can ask: --api-key-file FILE makes requests bear a key");
    }
    let (stop, stops) = oneshot::channel();
    let _listening = interrupt::listen(move || {
        notes::warn("finishing what was begun; interrupt again to stop at once");
        // Where the server has ended by itself there is nothing to stop.
        let _ = stop.send(());
    })?;
    // What `--quiet` asks to hear is the result, and of a server that is its address.
    notes::warn(format_args!("{} answers as {models}", url(address)));
    match serve(listener, Server::new(engine, folder.tokenizer().clone(), models, key), &origins, stops)? {
        Ended::Drained => Ok(()),
        Ended::CutOff(unfinished) => {
            notes::warn(format_args!("{unfinished} requests took too long and were cut off"));
            Ok(())
        }
    }
}

/// Tokens that the cache holds where nothing is said: enough for all sequences at their longest, if that is not too much
/// memory, and always enough for one.
fn usual_cache(model: &GptNeoConfig, max_batch: usize) -> usize {
    let positions = model.max_position_embeddings;
    // A key and a value of f32 in each layer.
    let bytes = model.num_layers() * model.hidden_size * 2 * size_of::<f32>();
    max_batch.saturating_mul(positions).min(USUAL_CACHE / bytes.max(1)).max(positions)
}

/// Takes the port, or says who has it.
fn listen(host: &str, port: u16) -> Result<TcpListener> {
    TcpListener::bind((host, port)).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "port {port} of {host} is taken by another program: give --port another number, or 0 for any that is free"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("the system does not give port {port} of {host}: give --port a number above 1023")
        }
        _ => anyhow!("cannot listen on {host}, port {port}: {error}; --host takes an address of this machine"),
    })
}

/// What a person opens; a server on all addresses is also on this machine's own.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_string(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
        IpAddr::V4(ip) => ip.to_string(),
    };
    format!("http://{ip}:{}/", address.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_address_is_one_that_can_be_opened() {
        let url = |text: &str| url(text.parse().unwrap());
        assert_eq!(url("0.0.0.0:80"), "http://127.0.0.1:80/");
        assert_eq!(url("[::1]:80"), "http://[::1]:80/");
        assert_eq!(url("192.0.2.1:80"), "http://192.0.2.1:80/");
    }
}
