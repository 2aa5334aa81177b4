//! Services, checks, leaf and roots of the agent.

use http::Method;

use super::{Answer, CALL_LIMIT, Client, Read, segment};
use crate::Error;
use crate::agent::AgentSelf;
use crate::check::{CheckDefinition, CheckUpdate, Status};
use crate::connect::{CaRoots, Leaf};
use crate::service::{Service, ServiceRegistration};

impl Client {
    /// Registers or updates an instance; the status of a check that already exists is kept.
    pub async fn register_service(&self, registration: &ServiceRegistration) -> Result<(), Error> {
        self.put_json("/v1/agent/service/register", registration)
            .await
            .map(drop)
    }

    pub async fn deregister_service(&self, id: &str) -> Result<(), Error> {
        let path = format!("/v1/agent/service/deregister/{}", segment(id));
        self.put(&path, &[], None).await.map(drop)
    }

    /// Adds or removes the critical check that takes an instance out of balancing.
    pub async fn service_maintenance(
        &self,
        id: &str,
        enable: bool,
        reason: &str,
    ) -> Result<(), Error> {
        let path = format!("/v1/agent/service/maintenance/{}", segment(id));
        let query = [
            ("enable", enable.to_string()),
            ("reason", reason.to_owned()),
        ];
        self.put(&path, &query, None).await.map(drop)
    }

    pub async fn register_check(&self, check: &CheckDefinition) -> Result<(), Error> {
        self.put_json("/v1/agent/check/register", check)
            .await
            .map(drop)
    }

    pub async fn deregister_check(&self, id: &str) -> Result<(), Error> {
        let path = format!("/v1/agent/check/deregister/{}", segment(id));
        self.put(&path, &[], None).await.map(drop)
    }

    /// Reports a TTL check as passing.
    pub async fn check_pass(&self, id: &str, note: &str) -> Result<(), Error> {
        self.check_report("pass", id, note).await
    }

    /// Reports a TTL check as warning.
    pub async fn check_warn(&self, id: &str, note: &str) -> Result<(), Error> {
        self.check_report("warn", id, note).await
    }

    /// Reports a TTL check as critical.
    pub async fn check_fail(&self, id: &str, note: &str) -> Result<(), Error> {
        self.check_report("fail", id, note).await
    }

    async fn check_report(&self, verb: &str, id: &str, note: &str) -> Result<(), Error> {
        let path = format!("/v1/agent/check/{verb}/{}", segment(id));
        self.put(&path, &[("note", note.to_owned())], None)
            .await
            .map(drop)
    }

    /// Reports a TTL check's status with an output of up to 4 KiB.
    pub async fn check_update(&self, id: &str, status: Status, output: &str) -> Result<(), Error> {
        let path = format!("/v1/agent/check/update/{}", segment(id));
        let update = CheckUpdate {
            status: status.as_str().to_owned(),
            output: output.to_owned(),
        };
        self.put_json(&path, &update).await.map(drop)
    }

    /// An instance merged with the central configuration; blocks on `read.hash`.
    pub async fn agent_service(&self, id: &str, read: &Read) -> Result<Answer<Service>, Error> {
        self.read(&format!("/v1/agent/service/{}", segment(id)), read)
            .await
    }

    pub async fn agent_self(&self) -> Result<AgentSelf, Error> {
        self.read("/v1/agent/self", &Read::default())
            .await
            .map(|answer| answer.value)
    }

    /// Every trust root; all of them are trusted, the active one signs.
    pub async fn ca_roots(&self, read: &Read) -> Result<Answer<CaRoots>, Error> {
        self.read("/v1/agent/connect/ca/roots", read).await
    }

    /// A service's certificate and key. Without an index the server revalidates it against the active root.
    pub async fn ca_leaf(&self, service: &str, read: &Read) -> Result<Answer<Leaf>, Error> {
        self.read(
            &format!("/v1/agent/connect/ca/leaf/{}", segment(service)),
            read,
        )
        .await
    }

    /// The leader's address; empty when there is none.
    pub async fn status_leader(&self) -> Result<String, Error> {
        let raw = self
            .send(Method::GET, "/v1/status/leader", &[], None, CALL_LIMIT)
            .await?;
        raw.ok()?.decode().map(|answer| answer.value)
    }
}
