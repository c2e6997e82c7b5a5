//! Which path is answered by whom, and what stands before all of them: the key, the counting, other sites' pages.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use super::ServeError;
use super::error::ApiError;
use super::metrics::InFlight;
use super::routes::{chat, completions, models, state, tokens};
use super::server::Server;
use super::{openapi, page};

/// Sites whose pages may ask, beside the server's own.
#[derive(Clone, Debug, Default)]
pub struct Origins(Allowed);

#[derive(Clone, Debug, Default)]
enum Allowed {
    #[default]
    Own,
    Of(Vec<HeaderValue>),
    Any,
}

impl Origins {
    /// These sites, each a scheme and a host such as `https://example.org`; `*` is all sites.
    ///
    /// # Errors
    /// One of them is no origin.
    pub fn of(sites: &[String]) -> Result<Self, ServeError> {
        if sites.is_empty() {
            return Ok(Self(Allowed::Own));
        }
        if sites.iter().any(|site| site == "*") {
            return Ok(Self(Allowed::Any));
        }
        let read = |site: &String| origin(site).ok_or_else(|| ServeError::NoOrigin(site.clone()));
        sites.iter().map(read).collect::<Result<_, _>>().map(|sites| Self(Allowed::Of(sites)))
    }
}

/// A site as browsers name it: in small letters, without the port that its scheme has anyway.
fn origin(site: &str) -> Option<HeaderValue> {
    let named = site.parse::<Uri>().ok()?;
    let (scheme, authority) = (named.scheme_str()?, named.authority()?);
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let port = named.port_u16().filter(|port| *port != usual).map(|port| format!(":{port}"));
    let origin = format!("{scheme}://{}{}", authority.host().to_lowercase(), port.unwrap_or_default());
    // Nothing but these parts is in it.
    let whole = site.len() == scheme.len() + "://".len() + authority.as_str().len();
    HeaderValue::from_str(&origin).ok().filter(|_| whole && !authority.as_str().contains('@'))
}

/// All paths.
pub(super) fn router(server: &Arc<Server>, origins: &Origins) -> Router {
    let open = Router::new()
        .route("/", get(page::page))
        .route("/health", get(state::health))
        .route("/ready", get(state::ready))
        .route("/openapi.json", get(openapi::document));
    let behind_the_key = Router::new()
        .route("/v1/completions", post(completions::completions))
        .route("/v1/chat/completions", post(chat::chat_completions))
        .route("/v1/models", get(models::models))
        .route("/v1/models/{model}", get(models::model))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/tokenizer_info", get(tokens::tokenizer_info))
        .route("/metrics", get(state::metrics))
        .route_layer(from_fn_with_state(server.clone(), with_key));
    let all = open
        .merge(behind_the_key)
        .fallback(async |uri: Uri| ApiError::no_such_path(uri.path()))
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::internal("the request broke the server").into_response()
        }))
        .layer(from_fn_with_state(server.clone(), counted));
    let all = match cors(origins) {
        Some(cors) => all.layer(cors),
        None => all,
    };
    all.with_state(server.clone())
}

fn cors(origins: &Origins) -> Option<CorsLayer> {
    let origins = match &origins.0 {
        Allowed::Own => return None,
        Allowed::Of(origins) => AllowOrigin::list(origins.iter().cloned()),
        Allowed::Any => Any.into(),
    };
    let methods = [Method::GET, Method::POST];
    // OpenAI's own client sends some of its own beside the key and the type.
    let headers = AllowHeaders::mirror_request();
    Some(CorsLayer::new().allow_origin(origins).allow_headers(headers).allow_methods(methods))
}

/// Lets requests through that bear the key.
async fn with_key(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    match &server.key {
        Some(key) if !key.opens(request.headers().get(header::AUTHORIZATION)) => {
            ApiError::unauthorized().into_response()
        }
        _ => next.run(request).await,
    }
}

/// Counts a request by its route, and as in flight until the end of its answer is made.
async fn counted(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_string());
    let (in_flight, begun) = (InFlight::of(&server.metrics), Instant::now());
    let response = next.run(request).await;
    let route = path.as_deref().unwrap_or("other");
    server.metrics.answered(route, response.status().as_u16(), begun.elapsed());
    response.map(|body| Body::new(Counted { body, _in_flight: in_flight }))
}

/// A body whose request counts as in flight.
struct Counted {
    body: Body,
    _in_flight: InFlight,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        let read = |text: &str| Origins::of(&[text.to_string()]);
        for (site, named) in [
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.Org:443", "https://example.org"),
            ("http://[::1]:8000", "http://[::1]:8000"),
        ] {
            assert!(matches!(read(site).unwrap().0, Allowed::Of(sites) if sites == [named]), "{site}");
        }
        assert!(matches!(read("*").unwrap().0, Allowed::Any));
        assert!(matches!(Origins::of(&[]).unwrap().0, Allowed::Own));
        for wrong in [
            "example.org",
            "https://example.org/",
            "https://a?b",
            "https://",
            "https://a@b",
            "ftp://a",
            "null",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
