//! The shape of Connect's certificates: a root with a signing id, leaves with no subject and one URI SAN.

use std::time::{Duration, SystemTime};

use outrigger_consul::connect::CaRoot;
use rand::RngExt as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
    SanType, SerialNumber, string::Ia5String,
};
use sha2::{Digest as _, Sha256};

use super::Error;

const ROOT_TTL: Duration = Duration::from_secs(87_600 * 3600);
/// Leaves are valid from a minute ago, for peers whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(60);

pub(super) struct Signer {
    issuer: Issuer<'static, KeyPair>,
    key_id: String,
}

pub(super) struct Signed {
    pub(super) cert_pem: String,
    pub(super) key_pem: String,
    pub(super) not_before: String,
    pub(super) not_after: String,
}

impl Signer {
    /// A signer from its stored key and certificate.
    pub(super) fn load(key_pem: &str, root_pem: &str) -> Result<Self, Error> {
        let key = KeyPair::from_pem(key_pem)?;
        let key_id = colon_hex(&subject_key_id(&key));
        let mut issuer_params = root_params_like(root_pem)?;
        issuer_params.key_identifier_method = KeyIdMethod::PreSpecified(subject_key_id(&key));
        Ok(Self {
            issuer: Issuer::new(issuer_params, key),
            key_id,
        })
    }

    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub(super) fn leaf(
        &self,
        uri: &str,
        serial: u64,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<Signed, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let (not_before, not_after) = (now - BACKDATED, now - BACKDATED + ttl.max(BACKDATED * 2));
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(ia5(uri)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DataEncipherment,
            KeyUsagePurpose::KeyAgreement,
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.key_identifier_method = KeyIdMethod::PreSpecified(subject_key_id(&key));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Signed {
            cert_pem: unix_lines(&certificate.pem()),
            key_pem: ec_private_key_pem(&key)?,
            not_before: rfc3339(not_before),
            not_after: rfc3339(not_after),
        })
    }
}

/// Makes a root and its key.
pub(super) fn root(trust_domain: &str, now: SystemTime) -> Result<(Signer, CaRoot), Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let serial = rand::rng().random_range(1..=u64::from(u32::MAX));
    let (cluster, _) = trust_domain.split_once('.').unwrap_or((trust_domain, ""));
    let short = cluster.get(..8).unwrap_or(cluster);
    let draw = |_| char::from_digit(rand::rng().random_range(0..36), 36).unwrap_or('0');
    let unique = (0..8).map(draw).collect::<String>();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        format!("pri-{unique}.consul.ca.{short}.consul"),
    );
    params.subject_alt_names = vec![SanType::URI(ia5(&format!("spiffe://{trust_domain}"))?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.not_before = now.into();
    params.not_after = (now + ROOT_TTL).into();
    params.serial_number = Some(SerialNumber::from(serial));
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::PreSpecified(subject_key_id(&key));
    let certificate = params.self_signed(&key)?;
    let key_id = colon_hex(&subject_key_id(&key));
    let root = CaRoot {
        id: colon_hex(&sha1(certificate.der())),
        name: "Consul CA Primary Cert".to_owned(),
        serial_number: serial,
        signing_key_id: key_id.clone(),
        external_trust_domain: cluster.to_owned(),
        not_before: rfc3339(now),
        not_after: rfc3339(now + ROOT_TTL),
        root_cert: unix_lines(&certificate.pem()),
        intermediate_certs: None,
        active: true,
        private_key_type: "ec".to_owned(),
        private_key_bits: 256,
        ..CaRoot::default()
    };
    Ok((
        Signer {
            issuer: Issuer::new(params, key),
            key_id,
        },
        root,
    ))
}

/// What signing needs of the stored root: its subject.
fn root_params_like(root_pem: &str) -> Result<CertificateParams, Error> {
    let unreadable = |error: &dyn std::fmt::Display| Error::Unreadable(error.to_string());
    let (_, pem) = x509_parser::pem::parse_x509_pem(root_pem.as_bytes())
        .map_err(|error| unreadable(&error))?;
    let certificate = pem.parse_x509().map_err(|error| unreadable(&error))?;
    let name = certificate.subject().iter_common_name().next();
    let name = name
        .and_then(|name| name.as_str().ok())
        .ok_or_else(|| unreadable(&"it has no common name"))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params)
}

/// Connect's subject key id: SHA-256 of the whole SPKI, not RFC 5280's SHA-1.
fn subject_key_id(key: &KeyPair) -> Vec<u8> {
    Sha256::digest(key.subject_public_key_info()).to_vec()
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes)
        .as_ref()
        .to_vec()
}

fn colon_hex(bytes: &[u8]) -> String {
    let pairs = bytes.iter().map(|byte| format!("{byte:02x}"));
    pairs.collect::<Vec<_>>().join(":")
}

fn ia5(text: &str) -> Result<Ia5String, Error> {
    Ia5String::try_from(text).map_err(Error::Certificate)
}

fn unix_lines(pem: &str) -> String {
    let mut text = pem.replace('\r', "");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The key as Consul's agent prints it: `EC PRIVATE KEY`, the SEC 1 document inside the PKCS#8 one.
fn ec_private_key_pem(key: &KeyPair) -> Result<String, Error> {
    let pkcs8 = key.serialize_der();
    let sec1 = sec1_of(&pkcs8)
        .ok_or_else(|| Error::Unreadable("the key is not a PKCS#8 EC key".to_owned()))?;
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Ok(pem::encode_config(
        &pem::Pem::new("EC PRIVATE KEY", with_curve(sec1)),
        config,
    ))
}

/// The octet string of a PKCS#8 document: SEQUENCE { INTEGER, SEQUENCE algorithm, OCTET STRING key }.
fn sec1_of(pkcs8: &[u8]) -> Option<&[u8]> {
    let (_, document, _) = element(pkcs8)?;
    let (_, _, rest) = element(document)?;
    let (_, _, rest) = element(rest)?;
    let (tag, key, _) = element(rest)?;
    (tag == 0x04).then_some(key)
}

/// Splits one DER element off: its tag, its content, what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (
            bytes
                .iter()
                .fold(0usize, |length, byte| length << 8 | usize::from(*byte)),
            rest,
        )
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Inside PKCS#8 the SEC 1 document may leave its curve out; alone it must name it, or readers refuse the key.
fn with_curve(sec1: &[u8]) -> Vec<u8> {
    const P256: [u8; 12] = [
        0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    ];
    let parts = || {
        let (_, content, _) = element(sec1)?;
        let (_, _, after_version) = element(content)?;
        let (_, _, tail) = element(after_version)?;
        Some((content, tail))
    };
    let Some((content, tail)) = parts().filter(|(_, tail)| tail.first() != Some(&0xa0)) else {
        return sec1.to_vec();
    };
    let head = content
        .get(..content.len() - tail.len())
        .unwrap_or_default();
    let body = [head, &P256, tail].concat();
    let mut der = vec![0x30];
    match u8::try_from(body.len()) {
        Ok(length) if length < 0x80 => der.push(length),
        Ok(length) => der.extend([0x81, length]),
        Err(_) => return sec1.to_vec(),
    }
    der.extend(body);
    der
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::*;

    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates carry the wall clock"
    )]
    fn certificates_have_connects_shape_and_survive_a_reload() {
        let now = SystemTime::now();
        let (signer, root) = root("11111111-2222-3333-4444-555555555555.consul", now).unwrap();
        let reloaded = Signer::load(&signer.key_pem(), &root.root_cert).unwrap();
        assert_eq!(reloaded.key_id(), root.signing_key_id);
        let ttl = Duration::from_secs(3600);
        let uri = "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web";
        let leaf = reloaded.leaf(uri, 7, now, ttl).unwrap();
        let (_, pem) = parse_x509_pem(leaf.cert_pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let (_, root_pem) = parse_x509_pem(root.root_cert.as_bytes()).unwrap();
        let root_certificate = root_pem.parse_x509().unwrap();
        certificate
            .verify_signature(Some(root_certificate.public_key()))
            .unwrap();
        assert_eq!(certificate.issuer(), root_certificate.subject());
        assert_eq!(certificate.subject().iter().count(), 0);
        let san = certificate.subject_alternative_name().unwrap().unwrap();
        assert!(san.critical);
        assert_eq!(san.value.general_names, [GeneralName::URI(uri)]);
        assert_eq!(certificate.raw_serial(), [7]);
        let aki = certificate.extensions().iter().find_map(|extension| {
            match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(aki) => aki.key_identifier.clone(),
                _ => None,
            }
        });
        assert_eq!(colon_hex(aki.unwrap().0), root.signing_key_id);
        assert!(leaf.key_pem.starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
    }
}
