//! A user, and the rule of who may see it.

use jiff::Timestamp;
use shop_chassis::Caller;

/// Whether others may see the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// The user itself and admins.
    Private,
    /// Everybody.
    Public,
}

/// Somebody with an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Counted up from 1.
    pub id: u32,
    /// The name shown.
    pub name: String,
    /// The mail address, in lower case.
    pub email: String,
    /// The password's hash; without one nobody can sign in.
    pub password_phc: Option<String>,
    /// Who may see the profile.
    pub visibility: Visibility,
    /// Counts the changes.
    pub version: i64,
    /// When the account was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// How much of a user somebody may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Not even that it exists.
    Nothing,
    /// Id, name and mail address.
    Basic,
    /// Everything the contract has.
    Full,
}

/// What `caller` may see of the user `id`.
pub fn sight(caller: &Caller, id: u32, visibility: Visibility) -> Sight {
    let principal = caller.principal.as_ref();
    if principal.is_some_and(|principal| principal.user_id == id || principal.is_admin()) {
        return Sight::Full;
    }
    match visibility {
        Visibility::Public => Sight::Basic,
        Visibility::Private => Sight::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use shop_chassis::caller::Principal;

    use super::*;

    fn caller(user: Option<(u32, &str)>) -> Caller {
        let principal = user.map(|(user_id, scope)| Principal {
            user_id,
            session_id: String::new(),
            scopes: vec![scope.to_owned()],
            token_id: String::new(),
        });
        Caller {
            peer: "gateway".to_owned(),
            principal,
        }
    }

    #[test]
    fn private_profiles_exist_for_their_owner_and_admins_only() {
        for (who, visibility, expected) in [
            (None, Visibility::Public, Sight::Basic),
            (None, Visibility::Private, Sight::Nothing),
            (Some((2, "profile")), Visibility::Public, Sight::Basic),
            (Some((2, "profile")), Visibility::Private, Sight::Nothing),
            (Some((1, "profile")), Visibility::Private, Sight::Full),
            (Some((2, "admin")), Visibility::Private, Sight::Full),
        ] {
            assert_eq!(sight(&caller(who), 1, visibility), expected, "{who:?}");
        }
    }
}
