//! Unary calls.

use tonic::Code;

use crate::channel::{Address, Client, equal, large, refusal};
use crate::testing::Empty;
use crate::testing::unimplemented_service_client::UnimplementedServiceClient;
use crate::{Checked, Outcome};

pub(crate) async fn empty_unary(mut client: Client) -> Outcome {
    client.empty_call(Empty {}).await?;
    Ok(Checked::Wholly)
}

pub(crate) async fn large_unary(mut client: Client) -> Outcome {
    large(&mut client).await?;
    Ok(Checked::Wholly)
}

pub(crate) async fn unimplemented_method(mut client: Client) -> Outcome {
    let refused = refusal(client.unimplemented_call(Empty {}).await)?;
    equal("code", &refused.code(), &Code::Unimplemented)?;
    Ok(Checked::Wholly)
}

pub(crate) async fn unimplemented_service(address: &Address) -> Outcome {
    let mut client = UnimplementedServiceClient::new(address.channel().await?);
    let refused = refusal(client.unimplemented_call(Empty {}).await)?;
    equal("code", &refused.code(), &Code::Unimplemented)?;
    Ok(Checked::Wholly)
}
