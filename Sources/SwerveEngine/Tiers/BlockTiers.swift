// Blocks below the device, as the engine thread moves them: copies between device and host, transfers between host and
// files, and the reads of sequences that wait for their blocks. This room decides nothing about requests: the
// scheduler's orders say what, and reports tell it how far things have come.
// Start here, then BlockTiers+Reads and BlockTiers+Copies.

import SwerveCore
package import SwerveScheduling
package import SwerveTiers
import SwerveTransfer

/// The KV tiers of one engine. Owned by the engine thread; nothing here waits for a disk.
///
/// In a step: `advance` before the schedule (what came from files, what sequences ask for), `move` after it and before the
/// plan is executed (swap-outs and loads), `keep` after the results were applied (copies of what became full).
package final class BlockTiers {
  /// A transfer under way. Its host slot is pinned until its completion.
  struct Transfer {
    enum Kind { case spill, fetch(read: UInt64?, position: Int) }
    var kind: Kind
    var slot: HostSlot
  }

  let shape: BlockShape
  package let host: HostTier
  let files: FileTier?
  let lane: TransferLane?
  /// Whether equal prompts share blocks; otherwise only a preempted sequence finds its own again.
  let sharesPrefixes: Bool
  let clock: @Sendable () -> Double
  let onNotice: @Sendable (String) -> Void
  /// Most host places that reads hold at a time: the rest stays for copies out. Those of new requests hold half, so that
  /// preempted sequences, which are older, always get on.
  let heldLimit: Int
  /// Sets blocks of private sequences of two processes apart.
  let nonce = ShortDigest.random()

  var scopes: [[UInt8]: BlockScope] = [:]
  /// [device blocks] digest of the chain up to the block, where it is in the prefix cache.
  var digests: [Digest]
  var reads: [TierReading] = []
  /// Entries of all reads.
  var heldCount = 0
  var transfers: [TransferID: Transfer] = [:]
  var nextTransfer: UInt64 = 0
  /// Host blocks to be written to files when there is room in the lane; not pinned.
  var backlog: [(slot: HostSlot, identity: BlockIdentity)] = []
  /// Entries of the backlog that are done with.
  var backlogHead = 0
  var completions: [TransferCompletion] = []
  /// A block on its way between device and a host of another precision.
  let scratch: UnsafeMutableRawBufferPointer

  /// Whether host memory keeps blocks; otherwise they only come from other engines.
  let keepsBlocks: Bool
  /// What requests' prompts get from other engines.
  var expected: [RequestID: IncomingBlocks] = [:]
  /// Whether a request whose blocks do not come is given up, and those that are to be.
  let failsWithoutBlocks: Bool
  var missing: [(RequestID, String)] = []
  var externalQueriedTokens = 0
  var externalHitTokens = 0
  var failedRequests = 0

  var totals = TierStatistics()
  var secondsPerBlock: Double?
  var secondsPerToken: Double?
  private var lastState: TierState?
  /// Whether the statistics changed since they were last taken.
  var isChanged = true

  /// `deviceBlocks`: of the scheduler's pool. `clock`: seconds that never go back. `onNotice` hears, once, of a file tier
  /// that stops or goes on.
  package init(
    shape: BlockShape, host: HostTier, files: FileTier?, deviceBlocks: Int, sharesPrefixes: Bool,
    lane configuration: TransferLane.Configuration = TransferLane.Configuration(),
    clock: @escaping @Sendable () -> Double = monotonicSeconds,
    keepsBlocks: Bool = true, failsWithoutBlocks: Bool = false,
    onNotice: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    precondition(host.blockBytes == shape.hostBytes, "the host's blocks have another size")
    self.keepsBlocks = keepsBlocks
    self.failsWithoutBlocks = failsWithoutBlocks
    self.shape = shape
    self.host = host
    self.files = files
    self.sharesPrefixes = sharesPrefixes
    self.clock = clock
    self.onNotice = onNotice
    heldLimit = max(1, host.blockCount - max(1, host.blockCount / 4))
    digests = [Digest](repeating: Digest(of: []), count: deviceBlocks)
    scratch = .allocate(byteCount: shape.deviceBytes, alignment: 64)
    if let files {
      var lanes = configuration
      // Half of the host stays free of transfers' pins.
      lanes.capacity = max(1, min(lanes.capacity, host.blockCount / 4))
      let store: any BlockStore =
        shape.conversion.map {
          ConvertingStore(files: files, conversion: $0, deviceBytes: shape.deviceBytes)
        } ?? files
      lane = TransferLane(store: store, configuration: lanes, clock: clock)
      lastState = files.healthState
    } else {
      lane = nil
    }
  }

  deinit { scratch.deallocate() }

  /// Whether something goes on that nobody would look after if the engine slept.
  package var hasPending: Bool { !transfers.isEmpty || backlogHead < backlog.count }

  /// Before a schedule: takes over what came, looks up what is asked for, and reports to the scheduler.
  package func advance(_ scheduler: inout Scheduler) {
    finishTransfers()
    for id in scheduler.tierOrders.ended { end(id) }
    scheduler.tierOrders.ended.removeAll(keepingCapacity: true)
    begin(scheduler.tierOrders.reads)
    scheduler.tierOrders.reads.removeAll(keepingCapacity: true)
    if failsWithoutBlocks && !expected.isEmpty { collectMissing() }
    extendReads()
    for index in reads.indices where reads[index].isChanged {
      reads[index].isChanged = false
      scheduler.update(reads[index].report)
    }
    submitBacklog()
    scheduler.setTierCosts(secondsPerBlock: secondsPerBlock, secondsPerToken: secondsPerToken)
  }

  /// A step computed so many rows in that time. Only steps of prompts say what recomputing costs.
  package func observe(promptRows: Int, seconds: Double) {
    guard promptRows >= 16, seconds > 0 else { return }
    let sample = seconds / Double(promptRows)
    secondsPerToken = secondsPerToken.map { $0 + 0.2 * (sample - $0) } ?? sample
  }

  /// What computing a block again would cost, for eviction by cost. Seconds, or tokens while nothing was measured.
  var reloadCost: Double { Double(shape.blockTokens) * (secondsPerToken ?? 1) }

  // MARK: Names

  func scope(salt: [UInt8]) -> BlockScope {
    if let known = scopes[salt] { return known }
    // Salts are the clients'; beyond any sensible number of them they are computed again.
    if scopes.count >= 1024 { scopes.removeAll(keepingCapacity: true) }
    let scope = shape.scope(salt: salt, tenant: PrefixSalt.tenant(of: salt))
    scopes[salt] = scope
    return scope
  }

  /// The scope of a sequence's own blocks: everybody's of its salt, or its alone where prefixes are not shared.
  func scope(salt: [UInt8], of sequence: SequenceID) -> BlockScope {
    if sharesPrefixes { return scope(salt: salt) }
    var own = salt
    own.append(3)
    for word in [nonce.low, nonce.high, sequence.request.rawValue, UInt64(truncatingIfNeeded: Int(sequence.index))] {
      withUnsafeBytes(of: word.littleEndian) { own.append(contentsOf: $0) }
    }
    return shape.scope(salt: own, tenant: PrefixSalt.tenant(of: salt))
  }

  func newTransfer() -> TransferID {
    nextTransfer += 1
    return TransferID(rawValue: nextTransfer)
  }

  // MARK: Life

  /// Forgets every block below the device that nobody reads now, also those of earlier processes. Files are removed on a
  /// thread of their own; `done` is told there whether all are stale.
  package func removeAll(done: @escaping @Sendable (Bool) -> Void) {
    host.removeAll()
    backlog.removeAll()
    backlogHead = 0
    isChanged = true
    guard let files else { return done(true) }
    startThread("swerve-forget") {
      do {
        try files.removeAll()
        done(true)
      } catch {
        done(false)
      }
    }
  }

  /// Writes what waits to be written, ends the lane's threads and gives the folder back: at most so many seconds. Nothing
  /// may be moved afterwards.
  package func close(within seconds: Double = 10) {
    guard let lane else { return }
    let deadline = clock() + seconds
    while hasPending, clock() < deadline {
      finishTransfers()
      submitBacklog()
      if files?.healthState == .off { break }
      pause(milliseconds: 1)
    }
    // A thread that is stuck in the disk may still write: then the folder stays ours until the process ends.
    let hasEnded = lane.shutDown(.drain, within: max(0.1, deadline - clock()))
    finishTransfers()
    if hasEnded { files?.close() }
  }

  /// What does not add up between steps, or nil. O(places + files): for tests and idle time.
  package func violation() -> String? {
    if let found = host.violation() ?? files?.violation() { return found }
    var held = 0
    for read in reads { held += read.window.dropFirst(read.taken).count { $0.slot != nil } }
    if held != heldCount { return "reads hold \(held) blocks, \(heldCount) counted" }
    return nil
  }

  /// A moment for the lane's threads, for loops that have nothing else to wait for.
  package func breathe() { pause(milliseconds: 1) }

  /// Says once that files stopped being written or read, or that they are again.
  func noticeState() {
    guard let files, files.healthState != lastState else { return }
    let state = files.healthState
    lastState = state
    isChanged = true
    let folder = files.configuration.folder
    switch state {
    case .healthy: onNotice("KV files in \(folder) are written again.")
    case .readOnly:
      onNotice(
        "KV files in \(folder) cannot be written (disk full or failing); they are only read until a write succeeds, and "
          + "serving goes on.")
    case .off:
      onNotice("KV files in \(folder) fail; they are not used until a restart, and serving goes on without them.")
    }
  }
}
