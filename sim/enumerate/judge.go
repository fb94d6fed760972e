package enumerate

func (r *Report) judge() {}
