import SwerveCore
package import SwerveInference
import SwerveTransfer

/// Ranks as the processes of a job of Open MPI, on any hosts; rank 0 is this thread, which alone calls MPI. A job is one
/// failure domain: when a rank is lost, the launcher starts all of them anew.
package final class MPIRanks: RankHandle {
  private let greeting: RankGreeting
  private let job: MPIJob
  private let channels: MPIRankChannels
  /// [ranks − 1] what each says when it has loaded.
  private var answers: [MPIChannel] = []

  /// Joins the job and tells the other processes what they are.
  package init(_ greeting: RankGreeting) throws {
    self.greeting = greeting
    job = try MPIJob()
    channels = MPIRankChannels(greeting, job)
    let ranks = greeting.layout.rankCount
    guard job.size == ranks else {
      // This process then ends, and the launcher ends the others.
      throw RankRefusal(
        reason: "mpirun started \(job.size) processes and the tensor and pipeline sizes make \(ranks) ranks; use "
          + "mpirun -np \(ranks)")
    }
    for rank in 1..<ranks {
      let channel = MPIRankChannels.greeting(job, rank: rank, peer: greeting.layout.name(rank))
      var own = greeting
      own.rank = rank
      let bytes = Array(own.json.text.utf8)
      try channel.reserve(bytes.count).copyBytes(from: bytes)
      try channel.send(bytes.count)
      answers.append(MPIRankChannels.answer(job, rank: rank, peer: greeting.layout.name(rank)))
      greetings.append(channel)
    }
  }

  /// Kept until they have left.
  private var greetings: [MPIChannel] = []

  package func links() -> RankLinks { RankLinks(0, of: greeting.layout) { channels.end($0, sends: $1) } }

  package func coordinator() -> RankCoordinator {
    RankCoordinator(greeting.layout) { channels.end($0, sends: $1) }
  }

  package func wait() throws(EngineStartError) {
    for (index, channel) in answers.enumerated() {
      let name = greeting.layout.name(index + 1)
      let answer: JSON
      do {
        answer = try JSON(parsing: try channel.receive())
        try channel.release()
      } catch {
        throw .device("\(name): \(error)")
      }
      if let failure = answer["failed"]?.string { throw .device("\(name): \(failure)") }
    }
  }

  package var firstReport: String? { nil }

  package func stop(hasFailed: Bool) {
    // A process that ends without leaving the job ends the job: nobody needs to be told.
    if hasFailed { return }
    coordinator().stop()
    job.close()
  }
}

/// The directions between ranks as tags of MPI.
struct MPIRankChannels {
  private let layout: RankLayout
  private let capacity: Int
  private let seconds: Double
  private let tags: [RankWay: Int]
  private let job: MPIJob

  private static let greetingTag = 0
  private static let answerTag = 1
  private static let firstTag = 2

  init(_ greeting: RankGreeting, _ job: MPIJob) {
    layout = greeting.layout
    seconds = greeting.seconds
    capacity = RankLinks.messageBytes(hiddenSize: greeting.runner.model.hiddenSize)
    tags = Dictionary(uniqueKeysWithValues: RankWay.all(layout).enumerated().map { ($1, Self.firstTag + $0) })
    self.job = job
  }

  func end(_ way: RankWay, sends: Bool) -> any Channel {
    guard let tag = tags[way] else { preconditionFailure("a way that the layout has not got") }
    let peer = sends ? way.to : way.from
    return MPIChannel(
      job, rank: peer, tag: tag, peer: layout.name(peer), capacity: capacity,
      seconds: sends ? 4 * seconds : way.patience(layout).map { $0 * seconds })
  }

  /// What a process is to be: text of at most 64 KiB, for which it waits as long as rank 0 needs to find out.
  static func greeting(_ job: MPIJob, rank: Int, peer: String) -> MPIChannel {
    MPIChannel(job, rank: rank, tag: greetingTag, peer: peer, capacity: 64 << 10, seconds: nil)
  }

  /// Whether it is.
  static func answer(_ job: MPIJob, rank: Int, peer: String) -> MPIChannel {
    MPIChannel(job, rank: rank, tag: answerTag, peer: peer, capacity: 64 << 10, seconds: nil)
  }
}
