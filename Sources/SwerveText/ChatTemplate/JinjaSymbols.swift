/// Slots of one function's frame.
final class JinjaFunctionLayout {
  let depth: Int
  var slotCount = 0
  init(depth: Int) { self.depth = depth }
}

/// Where a name lives while resolving.
struct JinjaPlacement {
  var functionDepth: Int
  var slot: Int
}

/// The names of one scope. Copies made for the branches of an `if` share the slots.
final class JinjaSymbols {
  enum Load {
    case parameter, context, missing
    case alias(JinjaPlacement)
  }

  let parent: JinjaSymbols?
  let function: JinjaFunctionLayout
  private let slots: Slots
  private(set) var references: [String: JinjaPlacement] = [:]
  private(set) var loads: [String: Load] = [:]
  private var stores: Set<String> = []

  private final class Slots { var byName: [String: Int] = [:] }

  init(parent: JinjaSymbols?, function: JinjaFunctionLayout? = nil) {
    self.parent = parent
    self.function = function ?? parent?.function ?? JinjaFunctionLayout(depth: 0)
    self.slots = Slots()
  }

  private init(copying other: JinjaSymbols) {
    parent = other.parent
    function = other.function
    slots = other.slots
    references = other.references
    loads = other.loads
    stores = other.stores
  }

  func copy() -> JinjaSymbols { JinjaSymbols(copying: self) }

  func find(_ name: String) -> JinjaPlacement? { references[name] ?? parent?.find(name) }

  @discardableResult
  private func define(_ name: String, _ load: Load) -> JinjaPlacement {
    let slot = slots.byName[name] ?? function.slotCount
    if slot == function.slotCount {
      slots.byName[name] = slot
      function.slotCount += 1
    }
    let placement = JinjaPlacement(functionDepth: function.depth, slot: slot)
    references[name] = placement
    loads[name] = load
    return placement
  }

  func load(_ name: String) { if find(name) == nil { define(name, .context) } }

  func store(_ name: String) {
    stores.insert(name)
    if references[name] != nil { return }
    define(name, parent?.find(name).map { .alias($0) } ?? .missing)
  }

  @discardableResult
  func declareParameter(_ name: String) -> JinjaPlacement {
    stores.insert(name)
    return define(name, .parameter)
  }

  /// Takes in what the branches of an `if` did: a name they assign holds, until then, what it held outside.
  func merge(_ branches: [JinjaSymbols]) {
    var stored: Set<String> = []
    for branch in branches { stored.formUnion(branch.stores) }
    stored.subtract(stores)
    for branch in branches {
      references.merge(branch.references) { $1 }
      loads.merge(branch.loads) { $1 }
      stores.formUnion(branch.stores)
    }
    for name in stored { loads[name] = parent?.find(name).map { .alias($0) } ?? .context }
  }
}
