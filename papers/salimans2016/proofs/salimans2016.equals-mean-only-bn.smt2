(set-logic QF_NRA)
(declare-fun n () Real)
(declare-fun sigma () Real)
(declare-fun m () Real)
(assert
 (and (= 0.0 (+ (* (- 1.0) sigma) n))))
(assert
 (let (($x44 (or (< 0.0 (+ (* (- 1.0) sigma) n)) (< 0.0 (+ sigma (* (- 1.0) n))))))
 (or $x44)))
(assert
 (< 0.0 sigma))
(assert
 (< 0.0 n))
(assert
 (let ((?x125 (+ m (- 2.0))))
(<= 0.0 ?x125)))
(check-sat)
