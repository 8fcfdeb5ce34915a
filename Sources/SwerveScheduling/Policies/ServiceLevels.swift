package import SwerveCore

/// Service classes with targets: shares by weight, and within the shares the earliest deadline first.
///
/// A class with a target for its first token may run ahead of its share by `RequestQueue.leadTokens` tokens times its
/// weight; as long as it does not, its requests go before those of classes without one, the earliest deadline (arrival +
/// target) first. A class that asks for less than its share therefore keeps its targets however much the others ask for.
/// Where a class may preempt, sequences of lower classes make room for it, the lowest class's latest first.
///
/// No class starves. The head of a waiting class with weight w waits, beyond the requests of its own class before it, at
/// most until every other class of weight v was served v × leadTokens tokens more than its share and one request more
/// (prompt and output): then its own class is the one served least. Preemption never takes more than that either, since
/// only a class whose turn it is preempts.
///
/// A running class with a target between tokens limits what a step computes for prompts, and how many sequences of lower
/// classes run, by how long steps took so far.
package struct ServiceLevels: SharingPolicy {
  package init() {}

  package var sharing: Sharing { .classes }
  package func precedes(_ a: SchedulingKey, _ b: SchedulingKey) -> Bool {
    (a.rank, a.arrival) < (b.rank, b.arrival)
  }
}
