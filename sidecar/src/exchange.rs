//! One attempt on one stream.

use std::rc::Rc;
use std::sync::Arc;

use crate::balance::endpoint::Endpoint;
use crate::connect::{Application, Pool};
use crate::error::Error;
use crate::stack::{Call, Reply};

/// One attempt on a pooled mTLS connection to `endpoint`. The returned body drives the request's body too; dropping it resets the stream.
pub async fn exchange(pool: &Rc<Pool>, endpoint: &Arc<Endpoint>, call: Call) -> Result<Reply, Error> {
    unimplemented!("{pool:?} {endpoint:?} {call:?}")
}

/// One attempt on the local application.
pub async fn to_application(application: &Rc<Application>, call: Call) -> Result<Reply, Error> {
    unimplemented!("{application:?} {call:?}")
}
