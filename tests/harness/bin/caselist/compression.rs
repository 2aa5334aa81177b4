//! Compressed messages. tonic compresses all messages of a call or none of them.

use anyhow::{Context as _, ensure};
use tonic::Code;
use tonic::codec::CompressionEncoding::Gzip;

use crate::channel::{Client, RESPONSE, equal, has_size, large_request, refusal};
use crate::testing::{
    BoolValue, Payload, ResponseParameters, SimpleRequest, StreamingInputCallRequest,
    StreamingOutputCallRequest,
};
use crate::wire::Flags;
use crate::{Checked, Outcome};

const UPLOADS: [usize; 2] = [27_182, 45_904];
const DOWNLOADS: [i32; 2] = [31_415, 92_653];

const fn wish(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

fn expecting(compressed: bool) -> SimpleRequest {
    SimpleRequest {
        expect_compressed: wish(compressed),
        ..large_request()
    }
}

pub(crate) async fn client_unary(mut plain: Client) -> Outcome {
    let refused = refusal(plain.unary_call(expecting(true)).await)?;
    equal("code", &refused.code(), &Code::InvalidArgument)?;
    let mut compressed = plain.clone().send_compressed(Gzip);
    for (client, flag) in [(&mut compressed, true), (&mut plain, false)] {
        let answer = client.unary_call(expecting(flag)).await?;
        has_size(answer.into_inner().payload, RESPONSE)?;
    }
    Ok(Checked::Wholly)
}

pub(crate) async fn server_unary(client: Client) -> Outcome {
    let mut client = client.accept_compressed(Gzip);
    for compressed in [true, false] {
        let request = SimpleRequest {
            response_compressed: wish(compressed),
            ..large_request()
        };
        let answer = client.unary_call(request).await?;
        let flags = answer.extensions().get::<Flags>().context("no flags")?;
        equal("flag", &flags.next(), &Some(compressed))?;
        has_size(answer.into_inner().payload, RESPONSE)?;
    }
    Ok(Checked::Wholly)
}

fn uploads(compressed: bool) -> [StreamingInputCallRequest; 2] {
    UPLOADS.map(|size| StreamingInputCallRequest {
        payload: Some(Payload::zeros(size)),
        expect_compressed: wish(compressed),
    })
}

/// Instead of one call whose first message alone is compressed, one of either kind.
pub(crate) async fn client_streaming(mut plain: Client) -> Outcome {
    let probe = tokio_stream::iter(uploads(true));
    let refused = refusal(plain.streaming_input_call(probe).await)?;
    equal("code", &refused.code(), &Code::InvalidArgument)?;
    let mut compressed = plain.clone().send_compressed(Gzip);
    for (client, flag) in [(&mut compressed, true), (&mut plain, false)] {
        let requests = tokio_stream::iter(uploads(flag));
        let answer = client.streaming_input_call(requests).await?;
        equal("sum", &answer.get_ref().aggregated_payload_size, &73_086)?;
    }
    Ok(Checked::Partly)
}

async fn downloads(client: &mut Client, compressed: [bool; 2]) -> Result<(), anyhow::Error> {
    let parameters = std::iter::zip(DOWNLOADS, compressed);
    let parameters = parameters.map(|(size, compressed)| ResponseParameters {
        size,
        compressed: wish(compressed),
    });
    let request = StreamingOutputCallRequest {
        response_parameters: parameters.collect(),
        ..StreamingOutputCallRequest::default()
    };
    let answers = client.streaming_output_call(request).await?;
    let flags = answers.extensions().get::<Flags>().cloned();
    let flags = flags.context("no flags")?;
    let mut answers = answers.into_inner();
    for (size, compressed) in std::iter::zip(DOWNLOADS, compressed) {
        let answer = answers.message().await?.context("too few answers")?;
        equal("flag", &flags.next(), &Some(compressed))?;
        has_size(answer.payload, size)?;
    }
    ensure!(answers.message().await?.is_none(), "one answer more");
    Ok(())
}

/// A server that cannot leave a message of a stream alone says so, and is asked for compressed ones.
pub(crate) async fn server_streaming(client: Client) -> Outcome {
    let mut client = client.accept_compressed(Gzip);
    let Err(refused) = downloads(&mut client, [true, false]).await else {
        return Ok(Checked::Wholly);
    };
    let status = refused.downcast_ref::<tonic::Status>();
    if status.is_none_or(|status| status.code() != Code::Unimplemented) {
        return Err(refused);
    }
    downloads(&mut client, [true; 2]).await?;
    Ok(Checked::Partly)
}
