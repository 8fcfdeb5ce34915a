package import SwerveCore

extension ServiceRule {
  /// The numbers of a class.
  package init(_ entry: ServiceClass) {
    self.init()
    weight = entry.weight
    firstTokenTarget = entry.ttftMilliseconds.map { UInt64($0 * 1e6) }
    tokenTarget = entry.tpotMilliseconds.map { UInt64($0 * 1e6) }
    maxShare = entry.maxShare
    preempts = entry.preempts
  }
}

extension WaitingRequest {
  /// A tenant's name as the number the scheduler tells tenants apart by: FNV-1a, 64 bits. Two names of one number share a
  /// lane, nothing else.
  package static func number(ofTenant name: String) -> UInt64 {
    name.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
  }
}
