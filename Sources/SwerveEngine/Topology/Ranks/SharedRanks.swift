import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTransfer

/// The channels of all ranks in memory that their processes share: each way at its place, which follows from the layout.
struct SharedRanks {
  private let layout: RankLayout
  private let capacity: Int
  private let seconds: Double
  private let spin: SpinBudget
  private let checksContent: Bool
  private let places: [RankWay: Int]
  let byteCount: Int

  init(_ greeting: RankGreeting) {
    layout = greeting.layout
    seconds = greeting.seconds
    checksContent = greeting.checksContent
    capacity = RankLinks.messageBytes(hiddenSize: greeting.runner.model.hiddenSize)
    let threads = max(greeting.layout.rankCount, greeting.threads ?? KernelPool.allowedCPUs.count)
    spin = SpinBudget(threads: threads)
    let step = SharedChannel.byteCount(capacity: capacity)
    let ways = RankWay.all(layout)
    places = Dictionary(uniqueKeysWithValues: ways.enumerated().map { ($1, $0 * step) })
    byteCount = ways.count * step
  }

  /// One side of a way.
  ///
  /// - Parameter watch: tells of ranks that end without a word.
  func end(_ way: RankWay, sends: Bool, in memory: SharedMemory, watch: (any PeerWatch)?) -> any Channel {
    guard let place = places[way] else { preconditionFailure("a way that the layout has not got") }
    let patience = way.patience(layout)
    let channel = SharedChannel(
      memory, at: place, capacity: capacity, end: sends ? .sender : .receiver,
      SharedChannel.Settings(
        peer: layout.name(sends ? way.to : way.from), deadline: seconds * (sends ? 4 : patience ?? 4), spin: spin,
        watch: watch, checksContent: checksContent))
    return patience == nil && !sends ? IdleChannel(channel) : channel
  }
}

/// The receiving end of a rank that has nothing to do until it is told: it waits for ever, and wakes seldom.
private final class IdleChannel: Channel {
  private let channel: SharedChannel

  init(_ channel: SharedChannel) { self.channel = channel }

  var capacity: Int { channel.capacity }
  func reserve(_ byteCount: Int) throws(ChannelError) -> UnsafeMutableRawBufferPointer {
    try channel.reserve(byteCount)
  }
  func send(_ byteCount: Int) throws(ChannelError) { try channel.send(byteCount) }
  func receive() throws(ChannelError) -> UnsafeRawBufferPointer {
    while try !channel.hasMessage(within: 60) {}
    return try channel.receive()
  }
  func release() throws(ChannelError) { try channel.release() }
}
