//! Connect CA: trust roots and leaf certificates.

wire! {
    pub struct CaRoots {
        @always {
            active_root_id: String = "ActiveRootID",
            trust_domain: String = "TrustDomain",
            roots: Vec<CaRoot> = "Roots",
        }
    }

    pub struct CaRoot {
        @always {
            id: String = "ID",
            name: String = "Name",
            serial_number: u64 = "SerialNumber",
            signing_key_id: String = "SigningKeyID",
            external_trust_domain: String = "ExternalTrustDomain",
            not_before: String = "NotBefore",
            not_after: String = "NotAfter",
            root_cert: String = "RootCert",
            intermediate_certs: Option<Vec<String>> = "IntermediateCerts",
            active: bool = "Active",
            private_key_type: String = "PrivateKeyType",
            private_key_bits: u32 = "PrivateKeyBits",
            create_index: u64 = "CreateIndex",
            modify_index: u64 = "ModifyIndex",
        }
    }
}

/// A service's certificate and private key.
#[derive(Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Leaf {
    #[serde(rename = "SerialNumber")]
    pub serial_number: String,
    #[serde(rename = "CertPEM")]
    pub cert_pem: String,
    #[serde(rename = "PrivateKeyPEM")]
    pub private_key_pem: String,
    #[serde(rename = "Service")]
    pub service: String,
    #[serde(rename = "ServiceURI")]
    pub service_uri: String,
    #[serde(rename = "ValidAfter")]
    pub valid_after: String,
    #[serde(rename = "ValidBefore")]
    pub valid_before: String,
    #[serde(rename = "CreateIndex")]
    pub create_index: u64,
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
}

impl std::fmt::Debug for Leaf {
    /// Leaves out the private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf")
            .field("serial_number", &self.serial_number)
            .field("service_uri", &self.service_uri)
            .field("valid_before", &self.valid_before)
            .field("modify_index", &self.modify_index)
            .finish_non_exhaustive()
    }
}
