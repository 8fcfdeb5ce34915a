package import SwerveCore

/// Tenants get computed tokens in proportion to their weights: of those who wait, the one that was served least, divided
/// by its weight, is admitted next (virtual token counters: Sheng et al., "Fairness in Serving Large Language Models",
/// OSDI 2024). A tenant's own requests keep their order of arrival.
///
/// Bound: while two tenants both have requests waiting, their served tokens divided by their weights differ by at most
/// the largest request's prompt and output plus the tokens of all running sequences, each divided by its weight. So no
/// tenant starves: with T tenants of equal weight, a head of a lane waits for at most that many tokens of each of the
/// T − 1 others. A tenant that was away gets no credit for it.
///
/// When blocks are short, the tenant that was served most gives them back first.
package struct FairShare: SharingPolicy {
  package init() {}

  package var sharing: Sharing { .tenants }
  package func precedes(_ a: SchedulingKey, _ b: SchedulingKey) -> Bool { a.arrival < b.arrival }
}
