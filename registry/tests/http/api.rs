//! Requests in one line, and claims about their answers.

use std::future::Future;
use std::time::Duration;

use reqwest::{Client, Method, header::HeaderMap};
use serde_json::Value;

/// A server under test.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    base: String,
    client: Client,
    token: Option<String>,
    /// Real Consul, which differs where the reference says so.
    pub(crate) real: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    request: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Api {
    pub(crate) fn new(base: &str, real: bool) -> Self {
        // A connection that idles would keep a server from stopping at once.
        let client = Client::builder().no_proxy().build().unwrap();
        Self {
            base: base.to_owned(),
            client,
            token: None,
            real,
        }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method.clone(), url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        let response = request.send().await.unwrap();
        Answer {
            request: format!("{method} {path}"),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// With `filter` as a parameter, escaped.
    pub(crate) async fn filtered(&self, path: &str, filter: &str) -> Answer {
        let filter =
            percent_encoding::utf8_percent_encode(filter, percent_encoding::NON_ALPHANUMERIC);
        self.get(&format!("{path}?filter={filter}")).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, &[], body.to_string()).await
    }

    pub(crate) async fn put_text(&self, path: &str, body: &str) -> Answer {
        self.send("PUT", path, &[], body.to_owned()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &[], body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    /// Registers a service and expects that it works.
    pub(crate) async fn register(&self, body: Value) {
        self.put("/v1/agent/service/register", body)
            .await
            .is(200, "");
    }

    /// Writes a config entry and expects that it works.
    pub(crate) async fn write(&self, entry: Value) {
        self.put("/v1/config", entry).await.says(true);
    }
}

impl Answer {
    /// The status and the whole body, byte for byte; Consul's JSON ends with a line feed that ours lacks.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &str) -> &Self {
        assert_eq!(
            (self.status, self.body.as_str()),
            (status, body),
            "{}",
            self.request
        );
        self
    }

    /// The status, and something the body says.
    #[track_caller]
    pub(crate) fn tells(&self, status: u16, part: &str) -> &Self {
        let told = self.status == status && self.body.contains(part);
        assert!(
            told,
            "{}: {} {:?}, not {status} {part:?}",
            self.request, self.status, self.body
        );
        self
    }

    /// 200 and exactly this JSON.
    #[track_caller]
    pub(crate) fn says(&self, body: impl Into<Value>) -> &Self {
        assert_eq!(self.status, 200, "{}: {}", self.request, self.body);
        assert_eq!(self.json(), body.into(), "{}", self.request);
        self
    }

    /// 200 and JSON that holds at least this: members may be more, lists are as long as here.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "its callers write the document where they call"
    )]
    pub(crate) fn holds(&self, part: Value) -> &Self {
        assert_eq!(self.status, 200, "{}: {}", self.request, self.body);
        let found = self.json();
        assert!(
            holds(&found, &part),
            "{}: {found:#} does not hold {part:#}",
            self.request
        );
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {:?}", self.request, self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn index(&self) -> u64 {
        self.header("x-consul-index")
            .and_then(|index| index.parse().ok())
            .unwrap_or_else(|| panic!("{}: no index in {:?}", self.request, self.headers))
    }
}

/// Whether a document holds another. A member that is absent holds what Go would leave out: the zero value.
pub(crate) fn holds(found: &Value, part: &Value) -> bool {
    match (found, part) {
        (Value::Object(found), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| holds(found.get(key).unwrap_or(&Value::Null), part)),
        (Value::Array(found), Value::Array(part)) => {
            found.len() == part.len()
                && found
                    .iter()
                    .zip(part)
                    .all(|(found, part)| holds(found, part))
        }
        (Value::Number(found), Value::Number(part)) => found.as_f64() == part.as_f64(),
        (found, part) => found == part,
    }
}

/// Asks again until the claim holds, for five seconds at most.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    ask: impl Fn() -> F,
) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let found = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            ticks.tick().await;
            if let Some(found) = ask().await {
                return found;
            }
        }
    });
    found
        .await
        .unwrap_or_else(|_| panic!("not within ten seconds: {what}"))
}

/// Asks again until the answer holds this.
pub(crate) async fn eventually_holds(api: &Api, path: &str, part: Value) {
    eventually(&format!("{path} holds {part:#}"), || async {
        let answer = api.get(path).await;
        (answer.status == 200 && holds(&answer.json(), &part)).then_some(())
    })
    .await;
}
