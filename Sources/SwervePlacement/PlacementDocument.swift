package import SwerveCore

/// A placement as a file: what `swerve placement plan` writes and `--placement FILE` reads. Its flags are those of the
/// command line and win over a configuration file; the rest explains.
package struct PlacementDocument: Sendable, Hashable {
  /// What one worker is and holds.
  package struct Role: Sendable, Hashable {
    package var worker: String
    package var role: String
    package var device: String
    /// First and one past the last.
    package var layers: Range<Int>
    package var queryHeads: Range<Int>
    package var parameterBytes: Double
    /// Where its keys and values are: `device`, or nowhere.
    package var tiers: [String]
  }

  package var model: String
  package var placement: String
  /// Names without dashes, in order.
  package var flags: [Flag]
  package var roles: [Role]
  package var estimates: [Estimate]
  package var reason: String

  package struct Flag: Sendable, Hashable {
    package var name: String
    package var value: String
  }

  package struct Estimate: Sendable, Hashable {
    package var placement: String
    package var tokensPerSecond: Double
    package var refusal: String?
  }

  package init(_ planner: Planner, choice: Placement) {
    model = planner.cost.model.name
    placement = choice.name
    flags = choice.flags.map { Flag(name: $0.name, value: $0.value) }
    roles = Self.roles(choice, planner.cost)
    estimates = planner.candidates.map {
      Estimate(placement: $0.placement.title, tokensPerSecond: $0.tokensPerSecond, refusal: $0.refusal)
    }
    reason = planner.best?.placement == choice ? planner.reason : planner.warning(for: choice) ?? "it was asked for"
  }

  // MARK: Roles

  private static func roles(_ placement: Placement, _ cost: CostModel) -> [Role] {
    let model = cost.model
    let all = 0..<model.layers
    let heads = 0..<model.queryHeads
    let devices = cost.machine.devices
    let (parameterBytes, _) = cost.room(placement)
    func role(
      _ worker: String, _ role: String, _ device: Int, layers: Range<Int>, heads: Range<Int>, bytes: Double,
      tiers: [String]
    ) -> Role {
      Role(
        worker: worker, role: role, device: devices[min(device, devices.count - 1)].name, layers: layers,
        queryHeads: heads, parameterBytes: bytes, tiers: tiers)
    }
    func part(_ range: Range<Int>, _ index: Int, _ count: Int) -> Range<Int> {
      range.count * index / count..<range.count * (index + 1) / count
    }
    switch placement {
    case .unified, .gathered:
      return [role("g0.0", "unified", 0, layers: all, heads: heads, bytes: parameterBytes, tiers: ["device"])]
    case .tensor(let count):
      return (0..<count).map {
        role(
          "g0.\($0)", "unified", $0, layers: all, heads: part(heads, $0, count), bytes: parameterBytes,
          tiers: ["device"])
      }
    case .pipeline(let count):
      return (0..<count).map {
        role(
          "g0.\($0)", "unified", $0, layers: part(all, $0, count), heads: heads, bytes: parameterBytes,
          tiers: ["device"])
      }
    case .separated(let count):
      return [role("g0.0", "parameter", 0, layers: all, heads: heads, bytes: parameterBytes, tiers: [])]
        + (0..<count).map {
          role("d\($0)", "data", $0 + 1, layers: all, heads: heads, bytes: 0, tiers: ["device"])
        }
    case .disaggregated(let prefill, let decode):
      return (0..<prefill + decode).map {
        role(
          "g\($0).0", $0 < prefill ? "prefill" : "decode", $0, layers: all, heads: heads, bytes: parameterBytes,
          tiers: ["device"])
      }
    }
  }

  // MARK: JSON

  package var json: JSON {
    let roles = roles.map { role in
      JSON.object([
        "worker": .string(role.worker), "role": .string(role.role), "device": .string(role.device),
        "layers": .array([.int(role.layers.lowerBound), .int(role.layers.upperBound)]),
        "query_heads": .array([.int(role.queryHeads.lowerBound), .int(role.queryHeads.upperBound)]),
        "parameter_bytes": .int(Int(role.parameterBytes)), "tiers": .array(role.tiers.map { .string($0) }),
      ])
    }
    let estimates = estimates.map { estimate in
      JSON.object(
        JSONObject(
          [
            ("placement", .string(estimate.placement)),
            ("tokens_per_second", .double((estimate.tokensPerSecond * 100).rounded() / 100)),
          ] + (estimate.refusal.map { [("refusal", .string($0))] } ?? [])))
    }
    return .object([
      "version": .int(Self.version), "model": .string(model), "placement": .string(placement),
      "flags": .object(JSONObject(flags.map { ($0.name, JSON.string($0.value)) })), "roles": .array(roles),
      "estimates": .array(estimates), "reason": .string(reason),
    ])
  }

  private static let version = 1

  /// The flags of a file's text.
  ///
  /// - Throws: one sentence.
  package static func flags(parsing text: String) throws(PlacementError) -> [Flag] {
    let json: JSON
    do { json = try JSON(parsing: text) } catch { throw PlacementError("it is \(error)") }
    guard let object = json.object else { throw PlacementError("it must hold a JSON object, not \(json.kind)") }
    guard object["version"]?.int == version else {
      throw PlacementError("it is not of version \(version); write it again with swerve placement plan")
    }
    guard let members = object["flags"]?.object, members["placement"]?.string != nil else {
      throw PlacementError("it has no flags with a placement; write it again with swerve placement plan")
    }
    var flags: [Flag] = []
    for (name, value) in members {
      guard let text = value.string ?? value.int.map({ "\($0)" }) else {
        throw PlacementError("its flag \(name) must be a string or a whole number, not \(value.kind)")
      }
      flags.append(Flag(name: name, value: text))
    }
    return flags
  }
}

/// What is wrong with a placement or a description of a machine: the end of a sentence.
package struct PlacementError: Error, Hashable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}
