//! An authority and two leaves for the pairs that have no registry to get theirs from.

use std::path::Path;

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// File name and SPIFFE id of the caller's leaf.
pub(crate) const CALLER: (&str, &str) = ("caller", "spiffe://bench.test/ns/default/dc/dc1/svc/web");
/// The same of the callee's.
pub(crate) const CALLEE: (&str, &str) = (
    "callee",
    "spiffe://bench.test/ns/default/dc/dc1/svc/catalog",
);
/// What the leaves are called where a host's name is wanted.
pub(crate) const HOST: &str = "bench.test";

/// Writes `ca.pem`, and `<name>.pem` and `<name>.key` of both.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // With the leaves' default name a leaf would look as if it had signed itself.
    parameters
        .distinguished_name
        .push(DnType::CommonName, "bench CA");
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
    std::fs::write(folder.join("ca.pem"), authority.pem())?;
    for (name, id) in [CALLER, CALLEE] {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = vec![
            SanType::URI(id.try_into().context("a URI")?),
            SanType::DnsName(HOST.try_into().context("a name")?),
        ];
        let leaf = parameters.signed_by(&key, &authority)?;
        std::fs::write(folder.join(format!("{name}.pem")), leaf.pem())?;
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}
