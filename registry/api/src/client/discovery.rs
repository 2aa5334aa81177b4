//! Endpoints, chains, intentions, catalog.

use std::collections::BTreeMap;

use http::Method;

use super::{Answer, Client, Read, limit, segment};
use crate::Error;
use crate::catalog::CatalogService;
use crate::chain::{ChainAnswer, ChainOverrides, CompiledChain};
use crate::health::{Node, ServiceEntry};
use crate::intention::Intention;

impl Client {
    /// The sidecars in front of a service, healthy or not.
    pub async fn health_connect(
        &self,
        service: &str,
        read: &Read,
    ) -> Result<Answer<Vec<ServiceEntry>>, Error> {
        self.entries("connect", service, read).await
    }

    /// The instances of a service, healthy or not.
    pub async fn health_service(
        &self,
        service: &str,
        read: &Read,
    ) -> Result<Answer<Vec<ServiceEntry>>, Error> {
        self.entries("service", service, read).await
    }

    async fn entries(
        &self,
        kind: &str,
        service: &str,
        read: &Read,
    ) -> Result<Answer<Vec<ServiceEntry>>, Error> {
        let path = format!("/v1/health/{kind}/{}", segment(service));
        let answer = self.read::<Option<Vec<ServiceEntry>>>(&path, read).await?;
        Ok(answer.map(Option::unwrap_or_default))
    }

    /// The compiled chain; with overrides it is a POST, which blocks just the same.
    pub async fn discovery_chain(
        &self,
        service: &str,
        overrides: &ChainOverrides,
        read: &Read,
    ) -> Result<Answer<CompiledChain>, Error> {
        let path = format!("/v1/discovery-chain/{}", segment(service));
        if overrides.is_empty() {
            return Ok(self
                .read::<ChainAnswer>(&path, read)
                .await?
                .map(|answer| answer.chain));
        }
        let body = serde_json::to_vec(overrides).map_err(Error::Decode)?;
        let raw = self
            .send(
                Method::POST,
                &path,
                &read.query(),
                Some(body.into()),
                limit(read),
            )
            .await?
            .ok()?;
        Ok(raw.decode::<ChainAnswer>()?.map(|answer| answer.chain))
    }

    /// The intentions that apply to a destination, highest precedence first.
    pub async fn intentions_match(
        &self,
        destination: &str,
        read: &Read,
    ) -> Result<Answer<Vec<Intention>>, Error> {
        let extra = [
            ("by", "destination".to_owned()),
            ("name", destination.to_owned()),
        ];
        let raw = self
            .get("/v1/connect/intentions/match", read, &extra)
            .await?
            .ok()?;
        let answer = raw.decode::<BTreeMap<String, Option<Vec<Intention>>>>()?;
        Ok(answer.map(|mut by_name| by_name.remove(destination).flatten().unwrap_or_default()))
    }

    /// Every service name with the union of its tags.
    pub async fn catalog_services(
        &self,
        read: &Read,
    ) -> Result<Answer<BTreeMap<String, Vec<String>>>, Error> {
        self.read("/v1/catalog/services", read).await
    }

    pub async fn catalog_service(
        &self,
        name: &str,
        read: &Read,
    ) -> Result<Answer<Vec<CatalogService>>, Error> {
        self.read(&format!("/v1/catalog/service/{}", segment(name)), read)
            .await
    }

    pub async fn catalog_nodes(&self, read: &Read) -> Result<Answer<Vec<Node>>, Error> {
        self.read("/v1/catalog/nodes", read).await
    }
}
