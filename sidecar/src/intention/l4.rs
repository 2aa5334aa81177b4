//! Precedence evaluation of intentions on a caller's identity alone.

use outrigger_consul::intention::Intention;

use crate::identity::spiffe::SpiffeId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    Allow,
    Deny,
}

/// The intentions of one destination, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intentions {
    rules: Vec<Rule>,
    default_allow: bool,
    trust_domain: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    namespace: String,
    /// `*` = every service.
    name: String,
    decision: Decision,
}

// === impl Decision ===

impl Decision {
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

// === impl Intentions ===

impl Intentions {
    /// Sorts by precedence and drops what a stronger intention of the same source hides.
    pub fn new(intentions: &[Intention], default_allow: bool, trust_domain: &str) -> Self {
        let mut sorted: Vec<&Intention> = intentions.iter().collect();
        sorted.sort_by_key(|intention| std::cmp::Reverse(intention.precedence));
        let mut rules: Vec<Rule> = Vec::new();
        for intention in sorted {
            let rule = rule(intention);
            if !rules
                .iter()
                .any(|known| known.namespace == rule.namespace && known.name == rule.name)
            {
                rules.push(rule);
            }
        }
        Self {
            rules,
            default_allow,
            trust_domain: trust_domain.to_ascii_lowercase(),
        }
    }

    /// The first intention whose source matches decides; nothing below it is consulted.
    pub fn decide(&self, caller: &SpiffeId) -> Decision {
        let known = caller
            .trust_domain()
            .eq_ignore_ascii_case(&self.trust_domain);
        let matches = |rule: &&Rule| {
            known
                && (rule.namespace == caller.namespace() || rule.namespace == "*")
                && (rule.name == "*" || rule.name == caller.service_name())
        };
        match self.rules.iter().find(matches) {
            Some(rule) => rule.decision,
            // A stranger matches no source, so only an allowing default lets him in; the handshake has refused him before.
            None if self.default_allow => Decision::Allow,
            None => Decision::Deny,
        }
    }
}

fn rule(intention: &Intention) -> Rule {
    let known_source = intention.source_peer.is_empty()
        && matches!(intention.source_type.as_str(), "" | "consul")
        && intention.source_sameness_group.is_empty();
    // Permissions and tokens need more than the identity: until they are evaluated, they deny.
    let evaluable = known_source && intention.permissions.is_empty() && intention.jwt.is_none();
    let decision = if evaluable && intention.action == "allow" {
        Decision::Allow
    } else {
        Decision::Deny
    };
    let namespace = if intention.source_ns.is_empty() {
        "default".to_owned()
    } else {
        intention.source_ns.clone()
    };
    // A source of another kind matches nobody here, but must not hide one that does.
    let name = if known_source {
        intention.source_name.clone()
    } else {
        String::new()
    };
    Rule {
        namespace,
        name,
        decision,
    }
}

#[cfg(test)]
mod tests;
