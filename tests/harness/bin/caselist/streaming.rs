//! Streams, and calls that end before they are answered.

use std::iter::zip;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming};

use crate::channel::{Client, equal, has_size};
use crate::testing::{
    Empty, Payload, StreamingInputCallRequest, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};
use crate::{Checked, Outcome};

/// Bytes of the messages there and back.
pub(crate) const UPLOADS: [usize; 4] = [27_182, 8, 1_828, 45_904];
pub(crate) const DOWNLOADS: [i32; 4] = [31_415, 9, 2_653, 58_979];

/// After which a call that nobody answers has begun for sure.
const BEGUN: Duration = Duration::from_millis(50);

/// The turn of a dialogue that wants one answer.
pub(crate) fn turn(upload: usize, download: i32) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        payload: Some(Payload::zeros(upload)),
        ..StreamingOutputCallRequest::wanting(&[download])
    }
}

/// A dialogue that has made its first turn.
async fn dialogue(
    client: &mut Client,
) -> anyhow::Result<(
    Sender<StreamingOutputCallRequest>,
    Streaming<StreamingOutputCallResponse>,
)> {
    let (turns, requests) = channel(1);
    turns.send(turn(UPLOADS[0], DOWNLOADS[0])).await?;
    let answers = client.full_duplex_call(ReceiverStream::new(requests));
    let mut answers = answers.await?.into_inner();
    let answer = answers.message().await?.context("no answer")?;
    has_size(answer.payload, DOWNLOADS[0])?;
    Ok((turns, answers))
}

pub(crate) async fn client_streaming(mut client: Client) -> Outcome {
    let requests = UPLOADS.map(|size| StreamingInputCallRequest {
        payload: Some(Payload::zeros(size)),
        expect_compressed: None,
    });
    let answer = client
        .streaming_input_call(tokio_stream::iter(requests))
        .await?;
    equal("sum", &answer.get_ref().aggregated_payload_size, &74_922)?;
    Ok(Checked::Wholly)
}

pub(crate) async fn server_streaming(mut client: Client) -> Outcome {
    let request = StreamingOutputCallRequest::wanting(&DOWNLOADS);
    let mut answers = client.streaming_output_call(request).await?.into_inner();
    for size in DOWNLOADS {
        let answer = answers.message().await?.context("too few answers")?;
        has_size(answer.payload, size)?;
    }
    ensure!(answers.message().await?.is_none(), "one answer more");
    Ok(Checked::Wholly)
}

pub(crate) async fn ping_pong(mut client: Client) -> Outcome {
    let (turns, mut answers) = dialogue(&mut client).await?;
    for (upload, download) in zip(UPLOADS, DOWNLOADS).skip(1) {
        turns.send(turn(upload, download)).await?;
        let answer = answers.message().await?.context("too few answers")?;
        has_size(answer.payload, download)?;
    }
    drop(turns);
    ensure!(answers.message().await?.is_none(), "one answer more");
    Ok(Checked::Wholly)
}

pub(crate) async fn empty_stream(mut client: Client) -> Outcome {
    let answers = client.full_duplex_call(tokio_stream::empty()).await?;
    let answer = answers.into_inner().message().await?;
    ensure!(answer.is_none(), "an answer to nothing");
    Ok(Checked::Wholly)
}

/// A deadline of tonic's own is told as CANCELLED; one that the server or the mesh saw first has the right name.
pub(crate) async fn timeout_on_sleeping_server(mut client: Client) -> Outcome {
    let (turns, requests) = channel(1);
    turns
        .send(StreamingOutputCallRequest {
            payload: Some(Payload::zeros(UPLOADS[0])),
            ..StreamingOutputCallRequest::default()
        })
        .await?;
    let mut request = Request::new(ReceiverStream::new(requests));
    request.set_timeout(Duration::from_millis(1));
    let ended = match client.full_duplex_call(request).await {
        Ok(answers) => answers.into_inner().message().await,
        Err(status) => Err(status),
    };
    let code = ended.err().context("the call was answered")?.code();
    let right = [Code::Cancelled, Code::DeadlineExceeded];
    ensure!(right.contains(&code), "{code:?} after the deadline");
    Ok(Checked::Partly)
}

/// To drop a call is to cancel it. Nobody is left to see its status, so what follows on the channel is seen.
pub(crate) async fn cancel_after_begin(mut client: Client) -> Outcome {
    let begun = client.streaming_input_call(tokio_stream::pending());
    let answer = timeout(BEGUN, begun).await;
    ensure!(answer.is_err(), "an answer to nothing: {answer:?}");
    client.empty_call(Empty {}).await?;
    Ok(Checked::Partly)
}

pub(crate) async fn cancel_after_first_response(mut client: Client) -> Outcome {
    let (turns, answers) = dialogue(&mut client).await?;
    // Nothing is reset before both are gone.
    drop(answers);
    drop(turns);
    client.empty_call(Empty {}).await?;
    Ok(Checked::Partly)
}
