//! Statuses that the server was asked for.

use anyhow::ensure;
use tokio_stream::once;
use tonic::{Code, Status};

use crate::channel::{Client, equal, refusal};
use crate::testing::{EchoStatus, SimpleRequest, StreamingOutputCallRequest};
use crate::{Checked, Outcome};

const PLAIN: &str = "test status message";
const SPECIAL: &str = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";

fn wanted(message: &str) -> Option<EchoStatus> {
    Some(EchoStatus {
        code: Code::Unknown.into(),
        message: message.to_owned(),
    })
}

fn is(status: &Status, message: &str) -> anyhow::Result<()> {
    equal("code", &status.code(), &Code::Unknown)?;
    equal("message", &status.message(), &message)
}

async fn unary(client: &mut Client, message: &str) -> anyhow::Result<()> {
    let request = SimpleRequest {
        response_status: wanted(message),
        ..SimpleRequest::default()
    };
    is(&refusal(client.unary_call(request).await)?, message)
}

async fn stream(client: &mut Client, message: &str) -> anyhow::Result<()> {
    let request = StreamingOutputCallRequest {
        response_status: wanted(message),
        ..StreamingOutputCallRequest::default()
    };
    // With or without headers before it.
    let ended = match client.full_duplex_call(once(request)).await {
        Ok(answers) => answers.into_inner().message().await,
        Err(status) => Err(status),
    };
    let answered = ended.as_ref().is_ok_and(Option::is_some);
    ensure!(!answered, "an answer before the status");
    is(&refusal(ended)?, message)
}

pub(crate) async fn status_code_and_message(mut client: Client) -> Outcome {
    unary(&mut client, PLAIN).await?;
    stream(&mut client, PLAIN).await?;
    Ok(Checked::Wholly)
}

pub(crate) async fn special_status_message(mut client: Client) -> Outcome {
    unary(&mut client, SPECIAL).await?;
    Ok(Checked::Wholly)
}
