//! What an arbiter says to a guard, grants and directives, to protobuf and back.

use super::{
    GUARDS_MAX, Malformed, endpoint, epoch, epoch_out, incarnation, incarnation_out, names, position,
    position_out, text,
};
use baton_core::ids::{DataId, InstanceName, Term, Version};
use baton_core::message::{Directive, Grant, Greeting, Order, ToGuard};
use baton_core::record::Pin;
use baton_core::time::{Span, Time};
use baton_proto::v1;

/// Puts one message to a guard beside the others of its host.
pub fn push_to_guard(messages: &mut v1::GuardMessages, instance: &InstanceName, message: &ToGuard) {
    match message {
        ToGuard::Grant(grant) => messages.grants.push(grant_to_wire(instance, grant)),
        ToGuard::Directive(directive) => messages.directives.push(v1::Directive {
            instance: instance.to_string(),
            incarnation: incarnation_out(directive.incarnation),
            epoch: epoch_out(directive.epoch),
            version: directive.version.0,
            term: directive.term.0,
            order: Some(order_to_wire(&directive.order)),
        }),
        ToGuard::Greeting(greeting) => messages.greetings.push(v1::Greeting {
            instance: instance.to_string(),
            incarnation: incarnation_out(greeting.incarnation),
            epoch: epoch_out(greeting.epoch),
        }),
    }
}

/// The messages of one host, each with the instance that it is for, in the order in which they count: a directive may
/// come before the grant that it makes possible.
///
/// # Errors
/// [`Malformed`].
pub fn to_guards_from_wire(messages: v1::GuardMessages) -> Result<Vec<(InstanceName, ToGuard)>, Malformed> {
    let count = messages.grants.len() + messages.directives.len() + messages.greetings.len();
    if count > 4 * GUARDS_MAX {
        return Err(Malformed::TooLong("a message to a host"));
    }
    let directives = messages.directives.into_iter().map(|directive| {
        let instance = InstanceName::parse(&directive.instance)?;
        let directive = Directive {
            incarnation: incarnation(directive.incarnation)?,
            epoch: epoch(directive.epoch)?,
            version: Version(directive.version),
            term: Term(directive.term),
            order: order_from_wire(directive.order.ok_or(Malformed::Missing("order"))?)?,
        };
        Ok((instance, ToGuard::Directive(directive)))
    });
    let grants = messages.grants.into_iter().map(|grant| {
        let (instance, grant) = grant_from_wire(grant)?;
        Ok((instance, ToGuard::Grant(grant)))
    });
    let greetings = messages.greetings.into_iter().map(|greeting| {
        let instance = InstanceName::parse(&greeting.instance)?;
        let (incarnation, epoch) = (incarnation(greeting.incarnation)?, epoch(greeting.epoch)?);
        Ok((instance, ToGuard::Greeting(Greeting { incarnation, epoch })))
    });
    directives.chain(grants).chain(greetings).collect()
}

pub(super) fn grant_to_wire(instance: &InstanceName, grant: &Grant) -> v1::Grant {
    v1::Grant {
        instance: instance.to_string(),
        incarnation: incarnation_out(grant.incarnation),
        beat: grant.beat.0,
        epoch: epoch_out(grant.epoch),
        term: grant.term.0,
        ttl_us: grant.ttl.0,
        pinned_version: grant.pinned.map_or(0, |version| version.0),
        lease_ttl_us: grant.lease.0,
    }
}

pub(super) fn grant_from_wire(grant: v1::Grant) -> Result<(InstanceName, Grant), Malformed> {
    let instance = InstanceName::parse(&grant.instance)?;
    let grant = Grant {
        beat: Time(grant.beat),
        incarnation: incarnation(grant.incarnation)?,
        epoch: epoch(grant.epoch)?,
        term: Term(grant.term),
        ttl: Span(grant.ttl_us.min(Pin::FOR_GOOD.0)),
        pinned: Some(Version(grant.pinned_version)).filter(|version| version.0 > 0),
        lease: Span(grant.lease_ttl_us),
    };
    Ok((instance, grant))
}

fn order_to_wire(order: &Order) -> v1::directive::Order {
    use v1::directive::Order as Wire;
    match order {
        Order::Lead { in_sync, data_id, ack_quorum } => Wire::Lead(v1::Lead {
            in_sync: in_sync.iter().map(ToString::to_string).collect(),
            data_id: data_id.to_string(),
            ack_quorum: *ack_quorum,
        }),
        Order::Follow { master, endpoint, data_id, start, reach } => Wire::Follow(v1::Follow {
            master: master.to_string(),
            endpoint: endpoint.to_string(),
            data_id: data_id.to_string(),
            start: position_out(*start),
            reach: reach.and_then(position_out),
        }),
        Order::Sever { master, reach, relinquished } => Wire::Sever(v1::Sever {
            reach: reach.and_then(position_out),
            relinquished: *relinquished,
            master: master.as_ref().map(ToString::to_string).unwrap_or_default(),
        }),
        Order::Relinquish => Wire::Relinquish(v1::Empty {}),
        Order::Grow { member, in_sync } => Wire::Grow(v1::Grow {
            member: member.to_string(),
            in_sync: in_sync.iter().map(ToString::to_string).collect(),
        }),
        Order::Shrink { member, in_sync, ack_quorum } => Wire::Shrink(v1::Shrink {
            member: member.to_string(),
            ack_quorum: *ack_quorum,
            in_sync: in_sync.iter().map(ToString::to_string).collect(),
        }),
        Order::Quorum { in_sync, ack_quorum } => Wire::AckQuorum(v1::AckQuorum {
            ack_quorum: *ack_quorum,
            in_sync: in_sync.iter().map(ToString::to_string).collect(),
        }),
        Order::Unpin => Wire::Unpin(v1::Empty {}),
        Order::EndEngine { beat, within } => {
            Wire::EndEngine(v1::EndEngine { beat: beat.0, within_us: within.0 })
        }
        Order::StandDown => Wire::StandDown(v1::Empty {}),
    }
}

fn order_from_wire(order: v1::directive::Order) -> Result<Order, Malformed> {
    use v1::directive::Order as Wire;
    Ok(match order {
        Wire::Lead(lead) => Order::Lead {
            in_sync: names(&lead.in_sync)?,
            data_id: DataId(text(lead.data_id, "a data identity")?),
            ack_quorum: lead.ack_quorum,
        },
        Wire::Follow(follow) => Order::Follow {
            master: InstanceName::parse(&follow.master)?,
            endpoint: endpoint(follow.endpoint)?,
            data_id: DataId(text(follow.data_id, "a data identity")?),
            start: position(follow.start),
            reach: follow.reach.map(|reach| position(Some(reach))),
        },
        Wire::Sever(sever) => Order::Sever {
            reach: sever.reach.map(|reach| position(Some(reach))),
            relinquished: sever.relinquished,
            master: Some(sever.master)
                .filter(|name| !name.is_empty())
                .map(|name| InstanceName::parse(&name))
                .transpose()?,
        },
        Wire::Relinquish(_) => Order::Relinquish,
        Wire::Grow(grow) => {
            Order::Grow { member: InstanceName::parse(&grow.member)?, in_sync: names(&grow.in_sync)? }
        }
        Wire::Shrink(shrink) => Order::Shrink {
            member: InstanceName::parse(&shrink.member)?,
            in_sync: names(&shrink.in_sync)?,
            ack_quorum: shrink.ack_quorum,
        },
        Wire::AckQuorum(quorum) => {
            Order::Quorum { in_sync: names(&quorum.in_sync)?, ack_quorum: quorum.ack_quorum }
        }
        Wire::Unpin(_) => Order::Unpin,
        Wire::EndEngine(order) => Order::EndEngine { beat: Time(order.beat), within: Span(order.within_us) },
        Wire::StandDown(_) => Order::StandDown,
    })
}

#[cfg(test)]
mod tests {
    use super::super::TEXT_BYTES_MAX;
    use super::*;
    use baton_core::ids::{Endpoint, Epoch, Incarnation};
    use baton_core::position::Position;
    use std::collections::BTreeSet;

    fn name(text: &str) -> InstanceName {
        InstanceName::parse(text).expect("a good name")
    }

    #[test]
    fn every_order_goes_both_ways_and_directives_come_first() {
        let orders = [
            Order::Lead { in_sync: BTreeSet::from([name("a1")]), data_id: DataId("d".into()), ack_quorum: 1 },
            Order::Quorum { in_sync: BTreeSet::from([name("a1")]), ack_quorum: 2 },
            Order::Follow {
                master: name("a1"),
                endpoint: Endpoint("h:1".into()),
                data_id: DataId("d".into()),
                start: Position::at(1, 2),
                reach: Some(Position::at(1, 3)),
            },
            Order::Sever { master: None, reach: None, relinquished: true },
            Order::Sever { master: Some(name("a3")), reach: Some(Position::at(2, 2)), relinquished: false },
            Order::Relinquish,
            Order::Grow { member: name("a2"), in_sync: BTreeSet::from([name("a1")]) },
            Order::Shrink { member: name("a2"), in_sync: BTreeSet::from([name("a1")]), ack_quorum: 1 },
            Order::Unpin,
            Order::EndEngine { beat: Time(7), within: Span::from_millis(500) },
            Order::StandDown,
        ];
        for order in orders {
            let incarnation = Incarnation { home: 1, boot: 2, run: 3 };
            let epoch = Epoch { generation: 1, number: 2 };
            let grant = ToGuard::Grant(Grant {
                beat: Time(1),
                incarnation,
                epoch,
                term: Term(3),
                ttl: Span(4),
                pinned: Some(Version(5)),
                lease: Span(5),
            });
            let (version, term) = (Version(5), Term(3));
            let directive = ToGuard::Directive(Directive { incarnation, epoch, version, term, order });
            let mut messages = v1::GuardMessages::default();
            push_to_guard(&mut messages, &name("a1"), &grant);
            push_to_guard(&mut messages, &name("a1"), &directive);
            let greeting = ToGuard::Greeting(Greeting { incarnation, epoch });
            push_to_guard(&mut messages, &name("a1"), &greeting);
            let heard = [directive, grant, greeting].map(|message| (name("a1"), message)).to_vec();
            assert_eq!(to_guards_from_wire(messages), Ok(heard));
        }
    }

    #[test]
    fn an_order_that_is_none_of_ours_is_refused() {
        let long = v1::GuardMessages {
            directives: vec![v1::Directive {
                instance: "a1".into(),
                incarnation: Some(v1::Incarnation::default()),
                epoch: Some(v1::Epoch::default()),
                order: Some(v1::directive::Order::Lead(v1::Lead {
                    in_sync: vec![],
                    data_id: "x".repeat(TEXT_BYTES_MAX + 1),
                    ack_quorum: 0,
                })),
                ..v1::Directive::default()
            }],
            ..v1::GuardMessages::default()
        };
        assert_eq!(to_guards_from_wire(long), Err(Malformed::TooLong("a data identity")));
    }
}
