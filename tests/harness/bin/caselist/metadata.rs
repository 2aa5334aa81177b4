//! Metadata that the server sends back: one key in its headers, one in its trailers.

use anyhow::Context as _;
use tokio_stream::once;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{IntoRequest as _, Request};

use crate::channel::{Client, equal, large_request};
use crate::streaming::{DOWNLOADS, UPLOADS, turn};
use crate::{Checked, Outcome};

pub(crate) const INITIAL: &str = "x-grpc-test-echo-initial";
pub(crate) const TRAILING: &str = "x-grpc-test-echo-trailing-bin";
const TEXT: &str = "test_initial_metadata_value";
const BYTES: [u8; 3] = [0xab; 3];

fn with_both<T>(message: T) -> Request<T> {
    let mut request = message.into_request();
    let metadata = request.metadata_mut();
    metadata.insert(INITIAL, MetadataValue::from_static(TEXT));
    metadata.insert_bin(TRAILING, MetadataValue::from_bytes(&BYTES));
    request
}

fn has_initial(headers: &MetadataMap) -> anyhow::Result<()> {
    let value = headers.get(INITIAL).context("no initial metadata")?;
    equal("initial", &value.to_str()?, &TEXT)
}

fn has_trailing(trailers: &MetadataMap) -> anyhow::Result<()> {
    let value = trailers.get_bin(TRAILING).context("no trailing metadata")?;
    equal("trailing", &value.to_bytes()?.as_ref(), &BYTES.as_slice())
}

pub(crate) async fn custom_metadata(mut client: Client) -> Outcome {
    let answer = client.unary_call(with_both(large_request())).await?;
    has_initial(answer.metadata())?;
    has_trailing(answer.metadata())?;

    let dialogue = with_both(once(turn(UPLOADS[0], DOWNLOADS[0])));
    let answers = client.full_duplex_call(dialogue).await?;
    has_initial(answers.metadata())?;
    let mut answers = answers.into_inner();
    while answers.message().await?.is_some() {}
    let trailers = answers.trailers().await?.context("no trailers")?;
    has_trailing(&trailers)?;
    Ok(Checked::Wholly)
}
