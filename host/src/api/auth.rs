//! Authorisation as a type: a handler gets the company's name only from an extractor that has checked the credential.
//!
//! [`Authorized`] is for every call that concerns one company; its type parameter names the scopes that the call needs.
//! [`CompanyInBody`] is for calls whose body may name the company, such as publishing. A handler that takes
//! neither has no company name, so it does not compile.

mod credential;
mod failure_limiter;
mod scopes;

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::ApiState;
use super::concerned_company::ConcernedCompany;
use super::params::{CompanyQuery, NamesCompany, PathParams, QueryParams};
use super::problem::{Problem, ProblemKind};
use super::spans;
use crate::domain::credential::{Credential, Grant, Owner, check_company};
use failure_limiter::FailureLimit;
use scopes::{RequiredScope, ScopeSet};

pub(crate) use failure_limiter::{AuthFailureLimiter, PeerAddress};
pub(super) use scopes::{
    AdminRead, AdminWrite, DeliveriesRead, DeliveriesWrite, EventsRead, EventsWrite, PlatformAdmin, PluginComparison,
    PluginsRead, PluginsWrite, WebhooksRead, WebhooksWrite,
};

/// A request whose caller has the scopes `S` for the company that the request concerns. `Q` is the call's query.
///
/// # Errors
/// In this order: 401 or 429 for the credential, 422 for the query, 400 for a path that cannot be decoded, 403 for a
/// missing scope or another company's name, 422 if a platform key does not name the company.
pub(super) struct Authorized<S, Q = CompanyQuery> {
    /// The company that the request concerns.
    pub(super) company: String,
    /// The query parameters.
    pub(super) query: Q,
    /// What the caller presented.
    pub(super) credential: Credential,
    // Private: only this module can make one.
    scopes: PhantomData<S>,
}

impl<S, Q> FromRequestParts<Arc<ApiState>> for Authorized<S, Q>
where
    S: ScopeSet,
    Q: NamesCompany + DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<ApiState>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let QueryParams(query) = QueryParams::<Q>::from_request_parts(parts, api).await?;
        // Decoded here only for the order of the errors; the handler reads the parameters by name.
        PathParams::<Vec<(String, String)>>::from_request_parts(parts, api).await?;
        let company = caller.company_for::<S>(query.company())?;
        spans::record_company(&company);
        ConcernedCompany::record(&parts.extensions, &company);
        Ok(Self { company, query, credential: caller.0.credential, scopes: PhantomData })
    }
}

/// The caller of a request whose body may name the company, so that it is checked once the body is read. `S` names the scope
/// that the call needs.
///
/// # Errors
/// 401 or 429 for the credential, then 422 for the query.
pub(super) struct CompanyInBody<S> {
    caller: Caller,
    query: CompanyQuery,
    scopes: PhantomData<S>,
}

/// The caller of a publishing request.
pub(super) type EventPublisher = CompanyInBody<EventsWrite>;
/// The caller of a request that subscribes, in Factorial's later API.
pub(super) type Subscriber = CompanyInBody<WebhooksWrite>;

impl<S: ScopeSet> FromRequestParts<Arc<ApiState>> for CompanyInBody<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<ApiState>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let QueryParams(query) = QueryParams::from_request_parts(parts, api).await?;
        Ok(Self { caller, query, scopes: PhantomData })
    }
}

impl<S: ScopeSet> CompanyInBody<S> {
    /// Checks the scope alone, before the body is read: it is the same for every company.
    ///
    /// # Errors
    /// 403 for a missing scope.
    pub(super) fn check_scope(&self) -> Result<(), Problem> {
        self.caller.check_scope(S::FIRST)
    }

    /// Returns the company, once the caller may do this to it. The query and the body may name it.
    ///
    /// # Errors
    /// 403 for a missing scope, another company's name or two different ones, 422 if a platform key does not name the company.
    pub(super) fn company(&self, in_body: Option<&str>) -> Result<String, Problem> {
        self.check_scope()?;
        if let (Some(in_query), Some(in_body)) = (self.query.company(), in_body)
            && in_query != in_body
        {
            let detail = "the body names another company than `?company=`";
            return Err(Problem::new(ProblemKind::Scope, detail));
        }
        self.caller.company(in_body.or(self.query.company()))
    }

    /// Returns who holds what the request takes of shared resources before its body is read: a company, or the platform as
    /// long as a request of its does not name one.
    pub(super) fn holder(&self) -> &str {
        match (&self.caller.0.owner, self.query.company()) {
            (Owner::Company(own), _) => own,
            (Owner::Platform, Some(named)) => named,
            // No company can have this name.
            (Owner::Platform, None) => "platform key",
        }
    }
}

/// A request of a platform key that concerns the installation as a whole. `S` names the scope that the call needs.
///
/// # Errors
/// 401 or 429 for the credential, 403 for a missing scope or the credential of a company.
pub(super) struct PlatformCaller<S> {
    /// What the caller presented.
    pub(super) credential: Credential,
    scopes: PhantomData<S>,
}

impl<S: ScopeSet> FromRequestParts<Arc<ApiState>> for PlatformCaller<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<ApiState>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        caller.check_scope(S::FIRST)?;
        caller.check_platform()?;
        Ok(Self { credential: caller.0.credential, scopes: PhantomData })
    }
}

/// The holder of a valid credential.
struct Caller(Grant);

impl FromRequestParts<Arc<ApiState>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<ApiState>) -> Result<Self, Problem> {
        // The limiter is asked only after a failure: a valid credential is accepted, however many invalid ones came
        // from the same address.
        let identified = credential::identify(&parts.headers, api).await;
        identified.map(Self).map_err(|problem| {
            if !problem.is_about_credential() {
                return problem;
            }
            let peer = parts.extensions.get::<PeerAddress>();
            match api.auth_failures.record_failure(peer, api.clock.now_ms()) {
                FailureLimit::Within => problem,
                FailureLimit::Exceeded => problem.rate_limited(),
            }
        })
    }
}

impl Caller {
    /// Returns the company that the request concerns, once the caller may do this to it.
    fn company_for<S: ScopeSet>(&self, named: Option<&str>) -> Result<String, Problem> {
        self.check_scope(S::FIRST)?;
        if S::PLATFORM_ONLY {
            self.check_platform()?;
        }
        let company = self.company(named)?;
        S::FURTHER.iter().try_for_each(|scope| self.check_scope(*scope))?;
        Ok(company)
    }

    fn check_platform(&self) -> Result<(), Problem> {
        match self.0.owner {
            Owner::Platform => Ok(()),
            Owner::Company(_) => Err(Problem::new(ProblemKind::Scope, "only a platform key may do this")),
        }
    }

    fn check_scope(&self, scope: RequiredScope) -> Result<(), Problem> {
        let scopes = &self.0.scopes;
        if scopes.allow(scope.area, scope.access) {
            return Ok(());
        }
        let detail = format!("this credential lacks the scope `{scope}`; it has `{scopes}`");
        Err(Problem::new(ProblemKind::Scope, detail))
    }

    fn company(&self, named: Option<&str>) -> Result<String, Problem> {
        match (&self.0.owner, named) {
            (Owner::Company(own), None) => Ok(own.clone()),
            (Owner::Company(own), Some(named)) if own == named => Ok(own.clone()),
            (Owner::Company(_), Some(_)) => {
                Err(Problem::new(ProblemKind::Scope, "this credential belongs to another company"))
            }
            (Owner::Platform, Some(named)) => {
                check_company(named).map_err(|detail| Problem::new(ProblemKind::Rule, detail))?;
                Ok(named.to_owned())
            }
            (Owner::Platform, None) => Err(Problem::new(
                ProblemKind::Rule,
                "a request with a platform key must name the company: `?company=…`",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credential::Scopes;

    fn caller(owner: Owner, scopes: &str) -> Caller {
        Caller(Grant { owner, scopes: Scopes::parse(scopes).unwrap(), credential: Credential::Token })
    }

    fn of_acme(scopes: &str) -> Caller {
        caller(Owner::Company("acme".into()), scopes)
    }

    fn refusal<S: ScopeSet>(caller: &Caller, named: Option<&str>) -> ProblemKind {
        caller.company_for::<S>(named).unwrap_err().kind()
    }

    #[test]
    fn a_company_key_speaks_for_its_own_company_only() {
        let caller = of_acme("webhooks");
        assert_eq!(caller.company_for::<WebhooksWrite>(None).unwrap(), "acme");
        assert_eq!(caller.company_for::<WebhooksRead>(Some("acme")).unwrap(), "acme");
        assert_eq!(refusal::<WebhooksRead>(&caller, Some("other")), ProblemKind::Scope);
    }

    #[test]
    fn only_a_platform_key_with_the_scope_changes_limits() {
        assert_eq!(refusal::<PlatformAdmin>(&of_acme("admin"), Some("acme")), ProblemKind::Scope);
        let platform = |scopes| caller(Owner::Platform, scopes);
        assert_eq!(platform("admin").company_for::<PlatformAdmin>(Some("acme")).unwrap(), "acme");
        assert_eq!(refusal::<PlatformAdmin>(&platform("admin:read"), Some("acme")), ProblemKind::Scope);
        assert_eq!(of_acme("admin:read").company_for::<AdminRead>(None).unwrap(), "acme");
    }

    #[test]
    fn a_platform_key_must_name_a_valid_company() {
        let caller = caller(Owner::Platform, "deliveries");
        assert_eq!(caller.company_for::<DeliveriesWrite>(Some("acme")).unwrap(), "acme");
        assert_eq!(refusal::<DeliveriesWrite>(&caller, None), ProblemKind::Rule);
        assert_eq!(refusal::<DeliveriesWrite>(&caller, Some("a b")), ProblemKind::Rule);
    }

    #[test]
    fn each_scope_set_needs_exactly_its_own_scopes() {
        for (scopes, allowed) in [
            ("webhooks:read", [true, false, false, false, false, false, false]),
            ("webhooks", [true, true, false, false, false, false, false]),
            ("plugins:read", [false, false, true, false, false, false, false]),
            ("plugins", [false, false, true, true, false, false, false]),
            ("deliveries:read", [false, false, false, false, true, false, false]),
            ("deliveries", [false, false, false, false, true, true, false]),
            ("plugins:read,deliveries:read", [false, false, true, false, true, false, true]),
            ("events,admin", [false; 7]),
        ] {
            let caller = of_acme(scopes);
            let found = [
                caller.company_for::<WebhooksRead>(None).is_ok(),
                caller.company_for::<WebhooksWrite>(None).is_ok(),
                caller.company_for::<PluginsRead>(None).is_ok(),
                caller.company_for::<PluginsWrite>(None).is_ok(),
                caller.company_for::<DeliveriesRead>(None).is_ok(),
                caller.company_for::<DeliveriesWrite>(None).is_ok(),
                caller.company_for::<PluginComparison>(None).is_ok(),
            ];
            assert_eq!(found, allowed, "{scopes}");
        }
    }

    #[test]
    fn a_comparison_checks_the_company_between_its_two_scopes() {
        let caller = caller(Owner::Platform, "plugins:read");
        assert_eq!(refusal::<PluginComparison>(&caller, None), ProblemKind::Rule);
        assert_eq!(refusal::<PluginComparison>(&caller, Some("acme")), ProblemKind::Scope);
    }

    #[test]
    fn query_and_body_of_an_event_name_one_company() {
        let publisher = |scopes: &str, query: Option<&str>| EventPublisher {
            caller: caller(Owner::Platform, scopes),
            query: CompanyQuery { company: query.map(Into::into) },
            scopes: PhantomData,
        };
        assert_eq!(publisher("events", Some("a")).company(Some("b")).unwrap_err().kind(), ProblemKind::Scope);
        assert_eq!(publisher("events", Some("a")).company(Some("a")).unwrap(), "a");
        assert_eq!(publisher("events", None).company(Some("b")).unwrap(), "b");
        assert_eq!(publisher("events", Some("a")).company(None).unwrap(), "a");
        assert_eq!(publisher("events", None).company(None).unwrap_err().kind(), ProblemKind::Rule);
        assert!(publisher("events", None).check_scope().is_ok());
        assert_eq!(publisher("events", Some("a")).holder(), "a");
        assert!(check_company(publisher("events", None).holder()).is_err(), "not the name of a company");
        let reader = publisher("events:read", Some("a"));
        assert_eq!(reader.check_scope().unwrap_err().kind(), ProblemKind::Scope);
        assert_eq!(reader.company(None).unwrap_err().kind(), ProblemKind::Scope);
    }
}
