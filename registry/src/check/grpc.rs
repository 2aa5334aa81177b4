//! The standard gRPC health service; the part after the first `/` of the target is the service asked about.

use outrigger_proto::grpc::health::v1::HealthCheckRequest;
use outrigger_proto::grpc::health::v1::health_check_response::ServingStatus;
use outrigger_proto::grpc::health::v1::health_client::HealthClient;
use tonic::transport::Endpoint;

use super::{Finding, resolve};

pub(super) async fn probe(target: &str) -> Finding {
    match ask(target).await {
        Ok(()) => Finding::passing(format!("gRPC check {target}: success")),
        Err(message) => Finding::critical(message),
    }
}

async fn ask(target: &str) -> Result<(), String> {
    let (address, service) = target.split_once('/').unwrap_or((target, ""));
    resolve(address).await?;
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| format!("{address}: {error}"))?;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel)
        .check(request)
        .await
        .map_err(|status| status.message().to_owned())?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(format!(
            "gRPC {target} serving status: {}",
            other.as_str_name()
        )),
    }
}
