//! What is kept of a call that ended: its code and its bytes.

use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Code, Response, Status};

use crate::Failure;

const REPLAYED: &str = "idempotent-replayed";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub(super) code: Code,
    /// The response, or the `google.rpc.Status` of a refusal.
    pub(super) body: Vec<u8>,
}

impl Outcome {
    pub fn of(response: &impl Message) -> Self {
        Self {
            code: Code::Ok,
            body: response.encode_to_vec(),
        }
    }

    pub fn refused(failure: &Failure) -> Self {
        Self {
            code: failure.code(),
            body: failure.to_proto().encode_to_vec(),
        }
    }

    /// The same answer again, marked as such.
    pub fn replay<R: Message + Default>(&self) -> Result<Response<R>, Status> {
        let replayed = MetadataValue::from_static("true");
        if self.code == Code::Ok {
            let response = R::decode(self.body.as_slice())
                .map_err(|error| Failure::internal(&format!("stored response: {error}")))?;
            let mut response = Response::new(response);
            response.metadata_mut().insert(REPLAYED, replayed);
            return Ok(response);
        }
        let stored = outrigger_proto::google::rpc::Status::decode(self.body.as_slice())
            .map_err(|error| Failure::internal(&format!("stored status: {error}")))?;
        let mut status = Status::with_details(self.code, stored.message, self.body.clone().into());
        status.metadata_mut().insert(REPLAYED, replayed);
        Err(status)
    }
}

/// A refusal that will be the same whenever the call is made. Faults of the
/// request are not kept (the key may be used again once they are mended), nor
/// is anything that may succeed later.
pub(super) fn is_definite(failure: &Failure) -> bool {
    match failure.code() {
        Code::FailedPrecondition | Code::NotFound | Code::AlreadyExists | Code::OutOfRange => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}
