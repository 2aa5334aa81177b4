//! A URL: 2xx passes, 429 warns, the rest is critical. Redirects are not followed.

use ::http::{HeaderName, HeaderValue, Method, StatusCode};
use outrigger_consul::check::CheckDefinition;

use super::{Finding, resolve};
use crate::state::check::OUTPUT;

pub(super) struct Prober {
    client: Result<reqwest::Client, String>,
}

impl Prober {
    pub(super) fn new() -> Self {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0);
        Self {
            client: builder.build().map_err(|error| error.to_string()),
        }
    }

    pub(super) async fn probe(&self, definition: &CheckDefinition) -> Finding {
        match self.request(definition).await {
            Ok((status, body)) => {
                let method = method(definition);
                let output = format!("HTTP {method} {}: {status} Output: {body}", definition.http);
                match status {
                    status if status.is_success() => Finding::passing(output),
                    StatusCode::TOO_MANY_REQUESTS => Finding::warning(output),
                    _ => Finding::critical(output),
                }
            }
            Err(message) => Finding::critical(message),
        }
    }

    async fn request(&self, definition: &CheckDefinition) -> Result<(StatusCode, String), String> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let url = reqwest::Url::parse(&definition.http).map_err(|error| error.to_string())?;
        let host = url.host_str().unwrap_or_default();
        resolve(&format!(
            "{host}:{}",
            url.port_or_known_default().unwrap_or(80)
        ))
        .await?;
        let method =
            Method::from_bytes(method(definition).as_bytes()).map_err(|error| error.to_string())?;
        let mut request = client
            .request(method, url)
            .header("user-agent", "Consul Health Check")
            .header("accept", "text/plain, text/*, */*");
        for (name, values) in &definition.header {
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            for value in values {
                let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
                request = request.header(&name, value);
            }
        }
        let response = request.body(definition.body.clone()).send().await;
        let mut response = response.map_err(|error| error.without_url().to_string())?;
        let status = response.status();
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= OUTPUT {
                break;
            }
        }
        body.truncate(OUTPUT);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

fn method(definition: &CheckDefinition) -> &str {
    if definition.method.is_empty() {
        "GET"
    } else {
        &definition.method
    }
}
