package server

// commandGroups returns the rows of the command table, in the order of the files that hold them.
// A new file of commands adds its line here and nowhere else.
func commandGroups() [][]*command {
	return [][]*command{
		connectionCommands(),
		keysCommands(),
		scanCommands(),
		expireCommands(),
		stringCommands(),
		sortCommands(),
		bitmapCommands(),
		hllCommands(),
		hashCommands(),
		zsetCommands(),
		zsetopsCommands(),
		geoCommands(),
		setCommands(),
		listCommands(),
		blockingListCommands(),
		blockingZSetCommands(),
		scriptCommands(),
		multiCommands(),
		pubsubCommands(),
		commandCommands(),
		clientCommands(),
		configCommands(),
		infoCommands(),
	}
}
