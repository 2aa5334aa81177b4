//! Metadata passes both sidecars byte for byte, in both directions.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_tests::client::{Answer, Call};
use outrigger_tests::mesh::Service;
use outrigger_tests::seed::Random;
use outrigger_tests::upstream::mirror::{self, Wanted};
use outrigger_tests::{Client, Mesh, settings};
use tokio::task::JoinSet;

const MIRROR: &str = "/test.Echo/Mirror";
/// What a token is made of (RFC 9110, 5.6.2), as far as it may stand in HTTP/2.
const NAME: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~";
/// What gRPC's names are made of.
const PLAIN_NAME: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_.";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const MESSAGES: [&str; 6] = [
    "",
    "plain words",
    "100%25 of h%C3%A9 %E2%82%AC %F0%9F%9A%A3",
    "a%0Ab%0D%00",
    "broken %zz and %E2%82",
    "%20 begins and ends %20",
];
/// Fields of a head, under bounds that leave room for what the mesh adds.
const MOST_FIELDS: usize = 100;
const MOST_BYTES: usize = 24 << 10;

/// What the application sees beside what its caller sent.
const OF_THE_CALL: [&str; 6] = [
    "te",
    "content-type",
    "traceparent",
    "x-outrigger-peer",
    "x-outrigger-attempt",
    "x-outrigger-hops",
];

/// One call and all that is to arrive of it.
#[derive(Clone, Debug)]
struct Case {
    request: HeaderMap,
    wanted: Wanted,
}

fn some(random: &mut Random, from: &[u8], length: usize) -> String {
    let chosen = (0..length).map(|_| char::from(*random.pick(from)));
    chosen.collect()
}

/// Names that mean nothing to gRPC, HTTP or the mesh.
fn name(random: &mut Random) -> HeaderName {
    let alphabet = if random.chance(20) { NAME } else { PLAIN_NAME };
    let length = match random.below(20) {
        0 => 200,
        1 => 1,
        _ => 2 + random.below(24),
    };
    let mut name = some(random, alphabet, length);
    if random.chance(30) {
        name.push_str("-bin");
    }
    let taken = ["grpc-", "content-", "x-outrigger", "x_outrigger"];
    let is_known = [
        "te",
        "host",
        "upgrade",
        "connection",
        "keep-alive",
        "trailer",
    ];
    if taken.iter().any(|prefix| name.starts_with(prefix)) || is_known.contains(&&*name) {
        name.insert(0, 'z');
    }
    HeaderName::from_bytes(name.as_bytes()).unwrap()
}

fn base64(random: &mut Random) -> String {
    // A remainder of one character stands for no byte.
    let length = *random.pick(&[0, 2, 3, 4, 6, 7, 8, 43, 86, 400]);
    let mut text = some(random, BASE64, length);
    if random.chance(50) {
        text.push_str(["", "", "==", "="][length % 4]);
    }
    text
}

fn binary(random: &mut Random) -> Vec<u8> {
    let mut text = base64(random);
    while random.chance(20) {
        text.push_str(if random.chance(50) { "," } else { ", " });
        text.push_str(&some(random, BASE64, 4));
    }
    text.into_bytes()
}

fn text(random: &mut Random) -> Vec<u8> {
    let length = match random.below(20) {
        0 | 1 => 0,
        2 => 4000,
        3 => 300,
        _ => 1 + random.below(60),
    };
    let byte = |random: &mut Random| match random.below(8) {
        0 => 0xff,
        1 => 0x80 | u8::try_from(random.below(128)).unwrap(),
        2 => *random.pick(b" \t"),
        3 => *random.pick(b",;=\"\\%:"),
        _ => 0x21 + u8::try_from(random.below(94)).unwrap(),
    };
    let mut value: Vec<u8> = (0..length).map(|_| byte(random)).collect();
    // RFC 9113, 8.2.1: no blank at either end.
    for end in [0, length.saturating_sub(1)] {
        if let Some(byte) = value
            .get_mut(end)
            .filter(|byte| matches!(byte, b' ' | b'\t'))
        {
            *byte = 0xff;
        }
    }
    value
}

fn fields(random: &mut Random) -> HeaderMap {
    let count = match random.below(20) {
        0 => 60 + random.below(MOST_FIELDS - 60),
        1 => 0,
        _ => 1 + random.below(12),
    };
    let mut fields = HeaderMap::new();
    let mut names = Vec::new();
    let mut bytes = 0;
    for _ in 0..count {
        let name = match names.is_empty() || random.chance(60) {
            true => name(random),
            false => HeaderName::clone(random.pick(&names)),
        };
        let value = match name.as_str().ends_with("-bin") {
            true => binary(random),
            false => text(random),
        };
        bytes += name.as_str().len() + value.len() + 32;
        if bytes > MOST_BYTES {
            break;
        }
        fields.append(&name, HeaderValue::from_bytes(&value).unwrap());
        names.push(name);
    }
    fields
}

impl Case {
    fn new(random: &mut Random) -> Self {
        let mut trailers = fields(random);
        // Neither is held against the instance.
        trailers.insert("grpc-status", if random.chance(80) { 0 } else { 5 }.into());
        if random.chance(50) {
            let message = HeaderValue::from_static(random.pick::<&str>(&MESSAGES));
            trailers.insert("grpc-message", message);
        }
        let is_trailers_only = random.chance(10);
        let head = match is_trailers_only {
            true => HeaderMap::new(),
            false => fields(random),
        };
        Self {
            request: fields(random),
            wanted: Wanted {
                head,
                trailers,
                is_trailers_only,
            },
        }
    }

    async fn run(&self, client: &Client) -> Result<(), String> {
        let mut call = Call::new("orders", MIRROR).message(self.wanted.message());
        call.headers.clone_from(&self.request);
        let answer = client.call(call).await;
        if answer.broke.is_some() || answer.http != 200 {
            return Err(format!("no answer: {}", answer.summary()));
        }
        self.check(&answer)
    }

    fn check(&self, answer: &Answer) -> Result<(), String> {
        let Wanted {
            head,
            trailers,
            is_trailers_only,
        } = &self.wanted;
        if *is_trailers_only {
            if answer.trailers.is_some() {
                return Err("one frame became two".to_owned());
            }
            return same(
                "the only head",
                trailers,
                &answer.headers,
                &["content-type"],
            );
        }
        let arrived = answer.trailers.as_ref().ok_or("the trailers are lost")?;
        same("trailers", trailers, arrived, &[])?;
        same(
            "the answer's head",
            head,
            &answer.headers,
            &["content-type"],
        )?;
        let [message] = &*answer.messages else {
            return Err(format!("{} messages", answer.messages.len()));
        };
        let seen = mirror::told(message);
        same("the request", &self.request, &seen, &OF_THE_CALL)
    }
}

type ByName<'a> = BTreeMap<&'a str, Vec<&'a [u8]>>;

fn by_name<'a>(fields: &'a HeaderMap, but: &[&str]) -> ByName<'a> {
    let mut names = ByName::new();
    for (name, value) in fields {
        if !but.contains(&name.as_str()) {
            names
                .entry(name.as_str())
                .or_default()
                .push(value.as_bytes());
        }
    }
    names
}

/// The same names, and under each the same values in the same order.
fn same(what: &str, sent: &HeaderMap, arrived: &HeaderMap, but: &[&str]) -> Result<(), String> {
    let (sent, arrived) = (by_name(sent, &[]), by_name(arrived, but));
    for name in sent.keys().chain(arrived.keys()) {
        if sent.get(name) != arrived.get(name) {
            let shown = |values: Option<&Vec<&[u8]>>| {
                let values = values.into_iter().flatten();
                let shown: Vec<_> = values
                    .map(|value| value.escape_ascii().to_string())
                    .collect();
                format!("{shown:?}")
            };
            return Err(format!(
                "{what}: {name}: sent {}, arrived {}",
                shown(sent.get(name)),
                shown(arrived.get(name))
            ));
        }
    }
    Ok(())
}

/// C10. `OUTRIGGER_METADATA_CASES` calls (a full run: 10,000), some at a time, are what one connection through both sidecars carries.
#[tokio::test]
async fn c10_every_field_arrives_as_it_was_sent_in_both_directions() {
    let cases = settings::number("OUTRIGGER_METADATA_CASES", 1_000);
    let at_once = 16;
    let mut random = Random::seeded("c10");
    Mesh::builder()
        .service(Service::new("orders"))
        .client("web")
        .run(async |mesh| {
            let mut callers = JoinSet::new();
            for caller in 0..at_once {
                let (client, mut random) = (mesh.client("web"), random.fork());
                let share = cases / at_once + u64::from(caller < cases % at_once);
                callers.spawn(async move {
                    for number in 0..share {
                        let case = Case::new(&mut random);
                        if let Err(why) = case.run(&client).await {
                            panic!("case {number} of caller {caller}: {why}\n{case:?}");
                        }
                    }
                });
            }
            while let Some(done) = callers.join_next().await {
                done.unwrap();
            }
            let handled = mesh.upstream("orders").handled();
            assert_eq!(handled, cases, "each call ran once");
        })
        .await;
}

/// The whole range at once, whatever chance picks above.
#[tokio::test]
async fn c10_every_byte_a_value_may_have_arrives() {
    let bytes: Vec<u8> = (0x20..=0xff).filter(|byte| *byte != 0x7f).collect();
    let all = [b"|", &*bytes, b"\t|"].concat();
    let mut fields = HeaderMap::new();
    fields.append("x-all", HeaderValue::from_bytes(&all).unwrap());
    fields.append("x-all", HeaderValue::from_static(""));
    fields.append("x-all", HeaderValue::from_bytes(&[0xff]).unwrap());
    let mut trailers = fields.clone();
    trailers.insert("grpc-status", 0.into());
    let case = Case {
        request: fields.clone(),
        wanted: Wanted {
            head: fields,
            trailers,
            is_trailers_only: false,
        },
    };
    Mesh::builder()
        .service("orders")
        .client("web")
        .run(async |mesh| {
            let outcome = case.run(&mesh.client("web")).await;
            assert_eq!(outcome, Ok(()));
        })
        .await;
}
